import io
from pathlib import Path

import pytest

from auricle.cli.sources import collect_sources, spool
from auricle.errors import AudioTooLarge, EmptyAudio, InvalidOption


def is_wav(path: Path) -> bool:
    return path.suffix == ".wav"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.wav", "a.wav", "notes.txt", ".hidden.wav", "deep/c.wav", ".git/d.wav"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def test_a_folder_means_its_media_files_in_order(folder: Path):
    sources, skipped = collect_sources([folder], recursive=False, is_media=is_wav)
    assert [str(source.name) for source in sources] == ["a.wav", "b.wav"]
    assert skipped == [folder / "notes.txt"]


def test_recursive_goes_deeper_but_not_into_hidden_folders(folder: Path):
    sources, _ = collect_sources([folder], recursive=True, is_media=is_wav)
    assert [str(source.name) for source in sources] == ["a.wav", "b.wav", "deep/c.wav"]


def test_a_named_file_is_taken_unseen(folder: Path):
    sources, skipped = collect_sources([folder / "notes.txt"], recursive=False, is_media=is_wav)
    assert [source.path for source in sources] == [folder / "notes.txt"]
    assert skipped == []


def test_a_file_that_is_named_twice_is_taken_once(folder: Path):
    sources, _ = collect_sources([folder / "a.wav", folder, folder / "deep/../a.wav"], recursive=False, is_media=is_wav)
    assert [str(source.name) for source in sources] == ["a.wav", "b.wav"]


def test_a_stream_becomes_a_file_that_is_removed_afterwards():
    with spool(io.BytesIO(b"sound"), max_mb=1) as source:
        assert source.path.read_bytes() == b"sound"
        assert source.name == Path("stdin")
    assert not source.path.exists()


def test_an_empty_stream_is_empty_audio():
    with pytest.raises(EmptyAudio), spool(io.BytesIO(), max_mb=1):
        pass


def test_a_stream_over_the_limit_is_refused_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(AudioTooLarge, match=r"0\.5 MiB"), spool(io.BytesIO(bytes(2**19 + 1)), max_mb=0.5):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_stream_at_the_limit_is_taken():
    with spool(io.BytesIO(bytes(2**19)), max_mb=0.5) as source:
        assert source.path.stat().st_size == 2**19


def test_a_terminal_is_no_audio():
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    with pytest.raises(InvalidOption, match="terminal"), spool(Terminal(b"x"), max_mb=1):
        pass
