"""Settings of jobs that cannot work are refused at the start."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from auricle import runtime_jobs
from auricle.config import Settings
from auricle.errors import InvalidOption
from auricle.runtime import open_runtime


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "auricle.db", "http://h"])
def test_a_database_of_another_kind_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        open_runtime(Settings(data_dir=tmp_path, engine="fake", database_url=SecretStr(url)))
    assert caught.value.param == "database_url"
    assert "secret" not in caught.value.message


def test_a_driver_that_is_missing_is_named_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_jobs, "find_spec", lambda name: None)
    settings = Settings(data_dir=tmp_path, engine="fake", database_url=SecretStr("postgresql://u:secret@h/d"))
    with pytest.raises(InvalidOption, match=r"auricle\[postgres\]"):
        open_runtime(settings)


def test_a_secret_that_cannot_sign_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption) as caught:
        open_runtime(Settings(data_dir=tmp_path, engine="fake", webhook_secret=SecretStr("whsec_short")))
    assert caught.value.param == "webhook_secret"
