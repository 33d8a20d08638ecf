"""Audio bytes from elsewhere onto disk, never more of them than allowed."""

import errno
import hashlib
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from auricle.errors import AudioTooLarge, MemoryPressure

MIB = 1 << 20
_STALE_S = 24 * 3600.0


class BoundedFile:
    """A temporary file that refuses to grow beyond ``max_bytes`` and is gone when closed.

    ``announced_bytes`` is the size that the sender named, for the error message only. One thread at a time.
    """

    def __init__(self, folder: Path, *, max_bytes: int, announced_bytes: int | None = None) -> None:
        self._file = tempfile.NamedTemporaryFile(dir=folder, prefix="upload-", delete=False)  # noqa: SIM115
        self.path = Path(self._file.name)
        self.size = 0
        self._max_bytes = max_bytes
        self._announced_bytes = announced_bytes
        self._hash = hashlib.sha256()
        self._keepers = 1

    @property
    def sha256(self) -> str:
        """Hash of what was written so far, in hex."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Append ``data``. Raises AudioTooLarge past the limit, MemoryPressure where the disk is full."""
        if self.size + len(data) > self._max_bytes:
            raise too_large(self._max_bytes, self._announced_bytes)
        try:
            self._file.write(data)
        except OSError as exc:
            raise _no_room(exc) from exc
        self._hash.update(data)
        self.size += len(data)

    def finish(self) -> None:
        """Nothing more comes: all bytes can be read from ``path``."""
        try:
            self._file.flush()
        except OSError as exc:
            raise _no_room(exc) from exc

    def keep(self) -> Callable[[], None]:
        """Have the file outlive its ``close``, until what this returns is called, once."""
        self._keepers += 1
        return self.close

    def close(self) -> None:
        """Remove the file, unless it is kept."""
        self._keepers -= 1
        if self._keepers:
            return
        # What cannot be flushed belongs to a file that is being thrown away.
        with suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def too_large(max_bytes: int, size: int | None = None) -> AudioTooLarge:
    """The error for a file over the limit; ``size`` in bytes where it is known."""
    actual = f"The upload has {size / MIB:.1f} MiB" if size is not None else "The upload is too large"
    return AudioTooLarge(
        f"{actual}; at most {max_bytes / MIB:g} MiB are taken (AURICLE_MAX_UPLOAD_MB). "
        "Send a compressed format such as mp3, opus or flac, or cut the file.",
        param="file",
    )


def file_sha256(source: Path | BinaryIO) -> str:
    """Hash of a file's bytes, in hex; a file that is open already is read from its start. Blocks."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return file_sha256(file)
    source.seek(0)
    found = hashlib.sha256()
    while block := source.read(MIB):
        found.update(block)
    return found.hexdigest()


def prepare_folder(folder: Path) -> None:
    """Make the folder for temporary files, and remove those that a killed process left; a day's worth stays.

    Raises OSError where the folder cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = time.time() - _STALE_S
    for path in folder.glob("upload-*"):
        try:
            if path.stat().st_mtime < before:
                path.unlink()
        except FileNotFoundError:
            continue  # Another server cleans the same folder.


def _no_room(exc: OSError) -> OSError | MemoryPressure:
    if exc.errno in {errno.ENOSPC, errno.EDQUOT}:
        return MemoryPressure("The server's disk has no room for the upload; try again later.", retry_after_s=60)
    return exc
