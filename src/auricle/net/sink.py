"""Where fetched bytes go: a file that the caller opens, filled within bounds."""

import asyncio
from pathlib import Path
from typing import Protocol

from auricle.errors import AudioTooLarge

MIB = 1 << 20
_FLUSH_BYTES = 1 * MIB


class Sink(Protocol):
    """A file that is being written, and is gone when it is closed."""

    size: int

    @property
    def path(self) -> Path: ...

    def write(self, data: bytes) -> None: ...

    def finish(self) -> None: ...

    def close(self) -> None: ...


class Filling:
    """Fills a file from the event loop: bytes gather, and are written in a thread.

    ``size`` counts what is gathered too. Raises AudioTooLarge as soon as more than ``max_bytes`` came.
    """

    def __init__(self, file: Sink, max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._pending = bytearray()

    @property
    def size(self) -> int:
        return self._file.size + len(self._pending)

    async def add(self, data: bytes) -> None:
        if self.size + len(data) > self._max_bytes:
            raise too_large(self._max_bytes)
        self._pending += data
        if len(self._pending) >= _FLUSH_BYTES:
            await self.flush()

    async def flush(self) -> None:
        data, self._pending = bytes(self._pending), bytearray()
        if data:
            await asyncio.to_thread(self._file.write, data)


def too_large(max_bytes: int, size: int | None = None) -> AudioTooLarge:
    """The error for a body over the limit; ``size`` in bytes where it is known."""
    actual = f"The file behind the URL has {size / MIB:.1f} MiB" if size is not None else "The file is too large"
    return AudioTooLarge(
        f"{actual}; at most {max_bytes / MIB:g} MiB are taken (AURICLE_MAX_UPLOAD_MB). "
        "Use a compressed format such as mp3, opus or flac, or cut the file.",
        param="url",
    )
