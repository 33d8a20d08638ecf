"""The folder of the jobs' audio."""

import os
from pathlib import Path

import pytest

from auricle.jobs import audio
from auricle.jobs.audio import AudioFolder


@pytest.fixture
def folder(tmp_path: Path) -> AudioFolder:
    opened = AudioFolder(tmp_path / "jobs")
    opened.open()
    return opened


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    path = tmp_path / "upload"
    path.write_bytes(b"sound")
    return path


def test_what_is_taken_stays_when_the_upload_goes(folder: AudioFolder, upload: Path) -> None:
    folder.take("a", upload)
    upload.unlink()
    path = folder.find("a")
    assert path is not None
    assert path.read_bytes() == b"sound"


def test_without_links_it_is_copied(folder: AudioFolder, upload: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    folder.take("a", upload)
    assert (folder.path / "a").read_bytes() == b"sound"


def test_taking_again_replaces_the_audio(folder: AudioFolder, upload: Path, tmp_path: Path) -> None:
    folder.take("a", upload)
    other = tmp_path / "other"
    other.write_bytes(b"more")
    folder.take("a", other)
    assert (folder.path / "a").read_bytes() == b"more"
    assert upload.read_bytes() == b"sound"


def test_a_folder_keeps_its_name_and_no_other_has_it(folder: AudioFolder, tmp_path: Path) -> None:
    assert folder.open() == AudioFolder(folder.path).open()
    assert folder.open() != AudioFolder(tmp_path / "other").open()
    assert [path.name for path in folder.path.iterdir()] == [".place"]


def test_audio_that_is_in_use_goes_with_its_last_user(folder: AudioFolder, upload: Path) -> None:
    folder.take("a", upload)
    first, second = folder.keep("a"), folder.keep("a")
    folder.remove("a")
    first()
    assert folder.find("a") is not None
    second()
    assert folder.find("a") is None


def test_audio_that_was_used_stays_until_it_is_removed(folder: AudioFolder, upload: Path) -> None:
    folder.take("a", upload)
    folder.keep("a")()
    assert folder.find("a") is not None
    folder.remove("a")
    assert folder.find("a") is None
    folder.remove("a")


def test_the_sweep_removes_what_no_job_needs(
    folder: AudioFolder, upload: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("needed", "ended", "unknown"):
        folder.take(name, upload)
    need = {"needed": True, "ended": False}
    folder.sweep(lambda names: {name: need[name] for name in names if name in need})
    # What no job is known of may be on its way in.
    assert sorted(path.name for path in folder.path.iterdir()) == [".place", "needed", "unknown"]
    monkeypatch.setattr(audio, "_YOUNG_S", -60.0)
    folder.sweep(lambda names: {name: need[name] for name in names if name in need})
    assert sorted(path.name for path in folder.path.iterdir()) == [".place", "needed"]
