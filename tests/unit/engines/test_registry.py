import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from auricle.engines.base import EngineConfig
from auricle.engines.registry import ENGINES, check_engine, installed_engines, load_engine
from auricle.errors import EngineNotInstalled, InvalidOption


def config(engine: str) -> EngineConfig:
    return EngineConfig(engine=engine, model_name="m", model_path=Path())


def test_all_engines_have_names_that_are_known():
    for name in ENGINES:
        check_engine(name)


@pytest.mark.parametrize("name", ["whisperer", "auto"])
def test_an_unknown_engine_is_refused_with_the_names_of_those_there_are(name: str):
    with pytest.raises(InvalidOption, match="auto, ct2, fake") as caught:
        load_engine(config(name))
    assert caught.value.param == "engine"


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    monkeypatch.delitem(sys.modules, "auricle.engines.ct2_engine", raising=False)
    with pytest.raises(EngineNotInstalled, match="pip install 'auricle'"):
        load_engine(config("ct2"))


def test_engines_are_found_without_importing_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "ctranslate2", raising=False)
    assert {"ct2", "fake"} <= installed_engines()
    assert "ctranslate2" not in sys.modules


def test_an_engine_is_loaded_by_its_name():
    assert load_engine(config("fake")).info.engine == "fake"


@pytest.mark.parametrize(("before", "after"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_pytorch_is_told_not_to_wait_busily_unless_something_else_is_set(
    monkeypatch: pytest.MonkeyPatch, before: str | None, after: str
):
    monkeypatch.setenv("OMP_WAIT_POLICY", "to be put back")
    monkeypatch.delenv("OMP_WAIT_POLICY")
    if before is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", before)
    seen: list[str | None] = []
    module = ModuleType("engine_of_a_test")
    module.load = lambda config: seen.append(os.environ.get("OMP_WAIT_POLICY"))  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "engine_of_a_test", module)
    monkeypatch.setitem(ENGINES, "torch", "engine_of_a_test:load")
    load_engine(config("torch"))
    assert seen == [after]
