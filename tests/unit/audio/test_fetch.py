import errno
import hashlib
import os
import time
from pathlib import Path

import pytest

from auricle.audio.fetch import BoundedFile, file_sha256, prepare_folder
from auricle.errors import AudioTooLarge, MemoryPressure


def test_the_file_holds_what_was_written_and_is_gone_when_closed(tmp_path: Path) -> None:
    with BoundedFile(tmp_path, max_bytes=10) as file:
        file.write(b"12345")
        file.write(b"67890")
        file.finish()
        assert file.path.read_bytes() == b"1234567890"
        assert file.size == 10
    assert list(tmp_path.iterdir()) == []


def test_one_byte_too_many_is_refused_and_names_limit_and_size(tmp_path: Path) -> None:
    with BoundedFile(tmp_path, max_bytes=2 << 20, announced_bytes=3 << 20) as file:
        file.write(bytes(2 << 20))
        with pytest.raises(AudioTooLarge, match=r"3\.0 MiB; at most 2 MiB") as caught:
            file.write(b"x")
    assert caught.value.param == "file"
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_error_that_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk:
        name = str(tmp_path / "upload-1")

        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.NamedTemporaryFile", lambda **_: FullDisk())
    with BoundedFile(tmp_path, max_bytes=10) as file, pytest.raises(MemoryPressure):
        file.write(b"x")


def test_preparing_the_folder_removes_only_old_uploads(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "uploads"
    prepare_folder(folder)
    old, new, other = folder / "upload-old", folder / "upload-new", folder / "notes"
    for path in (old, new, other):
        path.write_bytes(b"x")
    long_ago = time.time() - 3 * 24 * 3600
    os.utime(old, (long_ago, long_ago))
    os.utime(other, (long_ago, long_ago))
    prepare_folder(folder)
    assert {path.name for path in folder.iterdir()} == {"upload-new", "notes"}


def test_the_hash_is_that_of_what_was_written(tmp_path: Path) -> None:
    with BoundedFile(tmp_path, max_bytes=10) as file:
        file.write(b"123")
        file.write(b"45")
        file.finish()
        assert file.sha256 == hashlib.sha256(b"12345").hexdigest() == file_sha256(file.path)
        with file.path.open("rb") as opened:
            opened.read(2)
            assert file_sha256(opened) == file.sha256


def test_a_file_that_is_kept_outlives_its_close(tmp_path: Path) -> None:
    with BoundedFile(tmp_path, max_bytes=10) as file:
        file.write(b"12345")
        file.finish()
        release = file.keep()
        release_too = file.keep()
    release()
    assert file.path.read_bytes() == b"12345"
    release_too()
    assert list(tmp_path.iterdir()) == []
