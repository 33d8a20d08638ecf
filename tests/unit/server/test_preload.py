"""Models that are loaded while the server already answers."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from auricle.errors import ModelNotFound
from auricle.server import preload
from auricle.server.preload import Preload


class Models:
    """``good`` loads at once, ``late`` when it is let go, ``bad`` at the second try, ``never`` not at all."""

    def __init__(self) -> None:
        self.late = asyncio.Event()
        self.tries: list[str] = []

    async def load(self, name: str) -> Any:
        self.tries.append(name)
        if name == "late":
            await self.late.wait()
        if name == "never" or (name == "bad" and self.tries.count("bad") == 1):
            raise ModelNotFound(f"no {name}")
        return SimpleNamespace(info=SimpleNamespace(name=name))


def preload_of(models: Models, *names: str) -> Preload:
    return Preload(cast("Any", models), names)


async def until(condition: Any) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def test_ready_means_all_of_them():
    models = Models()
    loading = preload_of(models, "good", "late")
    async with loading.running():
        await until(lambda: len(models.tries) == 2)
        assert not loading.ready
        models.late.set()
        await until(lambda: loading.ready)
    assert loading.error is None


async def test_nothing_to_load_is_ready():
    assert preload_of(Models()).ready


async def test_a_model_that_cannot_be_had_is_named_and_keeps_no_other_waiting():
    models = Models()
    loading = preload_of(models, "never", "good")
    async with loading.running():
        await until(lambda: loading.error and len(models.tries) == 2)
    assert not loading.ready
    assert str(loading.error) == "no never"


async def test_a_model_that_comes_later_ends_the_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(preload, "_FIRST_PAUSE_S", 0.001)
    loading = preload_of(Models(), "bad")
    async with loading.running():
        await until(lambda: loading.ready)
    assert loading.error is None
