"""Objects in cloud storage, with fsspec's storage in memory in the place of the provider's."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from auricle.audio.fetch import BoundedFile
from auricle.errors import AudioTooLarge, EmptyAudio, ForbiddenUrl, UnsupportedOption, UrlRefused, UrlUnreachable
from auricle.net.addresses import Allowlist
from auricle.net.fetch import FetchedFile, fetch_url

ALLOW = Allowlist.parse(["s3://calls", "gs://calls"])
DATA = bytes(range(256)) * 40_000


class BrokenStorage(MemoryFileSystem):
    def info(self, path: str, **_: object) -> dict:
        raise {"denied": PermissionError, "down": OSError}[path.rpartition("/")[2]](path)


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryFileSystem]:
    monkeypatch.setitem(_registry, "s3", MemoryFileSystem)
    storage = MemoryFileSystem()
    storage.store.clear()
    yield storage
    storage.store.clear()


async def fetch(folder: Path, url: str, max_bytes: int = 1 << 24) -> FetchedFile[BoundedFile]:
    open_file = partial(BoundedFile, folder, max_bytes=max_bytes)
    return await fetch_url(url, open_file, allow=ALLOW, max_bytes=max_bytes, timeout_s=30)


async def test_an_object_comes_as_it_is(tmp_path: Path, storage: MemoryFileSystem) -> None:
    storage.pipe("/calls/monday/1.wav", DATA)
    fetched = await fetch(tmp_path, "s3://calls/monday/1.wav")
    assert fetched.file.path.read_bytes() == DATA
    assert fetched.final_url == "s3://calls/monday/1.wav"
    fetched.file.close()
    assert not list(tmp_path.iterdir())


async def test_an_object_over_the_limit_is_refused_before_it_is_read(tmp_path: Path, storage: MemoryFileSystem) -> None:
    storage.pipe("/calls/1.wav", DATA)
    with pytest.raises(AudioTooLarge, match=r"9\.8 MiB"):
        await fetch(tmp_path, "s3://calls/1.wav", max_bytes=1 << 20)
    assert not list(tmp_path.iterdir())


async def test_an_object_that_says_less_than_it_has_is_cut_off(
    tmp_path: Path, storage: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.pipe("/calls/1.wav", DATA)
    monkeypatch.setattr(MemoryFileSystem, "info", lambda *_, **__: {"size": None})
    with pytest.raises(AudioTooLarge):
        await fetch(tmp_path, "s3://calls/1.wav", max_bytes=1 << 20)
    assert not list(tmp_path.iterdir())


async def test_a_missing_object_is_unreachable_for_good(tmp_path: Path, storage: MemoryFileSystem) -> None:
    with pytest.raises(UrlRefused, match="no such object") as caught:
        await fetch(tmp_path, "s3://calls/1.wav")
    assert not caught.value.retryable
    assert not list(tmp_path.iterdir())


async def test_an_empty_object_is_empty_audio(tmp_path: Path, storage: MemoryFileSystem) -> None:
    storage.pipe("/calls/1.wav", b"")
    with pytest.raises(EmptyAudio):
        await fetch(tmp_path, "s3://calls/1.wav")


async def test_a_storage_that_fails_may_work_later(tmp_path: Path, storage: MemoryFileSystem) -> None:
    fsspec.register_implementation("s3", BrokenStorage, clobber=True)
    with pytest.raises(UrlUnreachable, match="OSError"):
        await fetch(tmp_path, "s3://calls/down")
    with pytest.raises(UrlRefused, match="not allowed to read"):
        await fetch(tmp_path, "s3://calls/denied")


async def test_other_buckets_are_not_read_with_the_rights_of_the_server(
    tmp_path: Path, storage: MemoryFileSystem
) -> None:
    storage.pipe("/salaries/1.wav", DATA)
    with pytest.raises(ForbiddenUrl, match="s3://salaries"):
        await fetch(tmp_path, "s3://salaries/1.wav")


async def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ImportError("Please install gcsfs")

    monkeypatch.setattr(fsspec, "filesystem", refuse)
    with pytest.raises(UnsupportedOption, match=r"gcsfs.*auricle\[cloud\]"):
        await fetch(tmp_path, "gs://calls/1.wav")
    assert not list(tmp_path.iterdir())
