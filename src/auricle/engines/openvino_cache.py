"""Compiled models on disk, so that a model that was run before starts sooner.

An entry is one file, named by what its content depends on: a line of JSON with the sizes and checksums of its parts,
then, after 64 KiB, the parts, each on a page boundary, to be mapped. It is written whole or not at all. What does not
match its checksums is as good as absent. Together the entries stay below a limit; those that were unused for longest
go first.
"""

import hashlib
import json
import logging
import mmap
import os
import tempfile
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

_SUFFIX = ".compiled"
_UNFINISHED = ".tmp"
_MAX_AGE_S = 3600.0
"""Of an unfinished file: whoever wrote it is gone."""
_HEADER_BYTES = 1 << 16
_STEP = 1 << 20
_SAMPLES, _SAMPLE_BYTES = 64, 4096

Part = NDArray[np.uint8]

_log = logging.getLogger("auricle.engines.openvino_cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledCache:
    """The entries in ``folder``, of at most ``max_bytes`` together. Several processes may share it."""

    folder: Path
    max_bytes: int

    def read(self, key: str) -> "Entry | None":
        """The entry under ``key``, or None where there is none, or only a damaged one."""
        path = self._path(key)
        try:
            entry = _open(path)
            os.utime(path)  # what was used last stays longest
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("%s is damaged (%s) and will be made anew", path, error)
            with suppress(OSError):
                path.unlink()
            return None
        return entry

    def write(self, key: str, parts: Iterable[bytes | memoryview], about: Mapping[str, str]) -> bool:
        """Put an entry in the place of an older one; False where it is too large or the disk does not take it.

        A part is written before the next one is asked for. ``about`` is for people who look into the file.
        """
        unfinished = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.folder, suffix=_UNFINISHED, delete=False) as file:
                unfinished = Path(file.name)
                size = _write(file, parts, about)
            if size > self.max_bytes:
                _log.warning("a compiled model of %d MB is larger than what may be kept in %s", size >> 20, self.folder)
                return False
            self._make_room(self.max_bytes - size, keep_out=key)
            unfinished.replace(self._path(key))
        except OSError as error:
            _log.warning("a compiled model cannot be kept in %s: %s", self.folder, error)
            return False
        finally:
            if unfinished is not None:
                unfinished.unlink(missing_ok=True)
        return True

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _make_room(self, max_bytes: int, *, keep_out: str) -> None:
        """Delete until at most ``max_bytes`` are left, not counting the entry that is about to be replaced."""
        found = [(path, path.stat()) for path in self.folder.glob(f"*{_SUFFIX}") if path != self._path(keep_out)]
        total = sum(stat.st_size for _, stat in found)
        for path, stat in sorted(found, key=lambda pair: pair[1].st_mtime):
            if total <= max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= stat.st_size
        for path in self.folder.glob(f"*{_UNFINISHED}"):
            if path.stat().st_mtime < time.time() - _MAX_AGE_S:
                path.unlink(missing_ok=True)


class Entry:
    """The parts of an entry, mapped."""

    def __init__(self, data: mmap.mmap, parts: Sequence[Part]) -> None:
        self._data = data
        self.parts = parts

    def forget_pages(self) -> None:
        """Give the memory of pages that were looked at back; they are read again when they are needed again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._data.madvise(mmap.MADV_DONTNEED)


def fingerprint(path: Path) -> str:
    """A name for the content of a file, or of the files in a folder, made without reading all of large ones.

    Sizes and times, and pages of each file from its beginning to its end: files that were unpacked with one time for
    all, such as those of a container image, still differ.
    """
    files = sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]
    found = hashlib.sha256()
    for file in files:
        stat = file.stat()
        found.update(f"{file.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        with file.open("rb") as content:
            for place in range(0, stat.st_size, max(_SAMPLE_BYTES, stat.st_size // _SAMPLES)):
                content.seek(place)
                found.update(content.read(_SAMPLE_BYTES))
    return found.hexdigest()


def cache_key(depends_on: Mapping[str, str]) -> str:
    """One name for all that a compiled model depends on."""
    return hashlib.sha256(json.dumps(dict(depends_on), sort_keys=True).encode()).hexdigest()[:32]


def _write(file: IO[bytes], parts: Iterable[bytes | memoryview], about: Mapping[str, str]) -> int:
    """Write an entry; gives its size."""
    at = _HEADER_BYTES
    table: list[tuple[int, int]] = []
    for part in parts:
        file.seek(at)
        file.write(part)
        table.append((len(part), zlib.crc32(part)))
        at += _padded(len(part))
    file.truncate(at)
    file.seek(0)
    file.write(json.dumps({"about": dict(about), "parts": table}).encode() + b"\n")
    return at


def _open(path: Path) -> Entry:
    with path.open("rb") as file:
        # Private pages that could be written: OpenVINO takes no others without a copy.
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    header = cast("dict[str, Any]", json.loads(data[:_HEADER_BYTES].partition(b"\n")[0]))
    at = _HEADER_BYTES
    parts: list[Part] = []
    for size, checksum in cast("list[tuple[int, int]]", header["parts"]):
        part = np.frombuffer(data, np.uint8, size, at)
        if _checksum(part) != checksum:
            raise ValueError("its content does not match its checksum")
        parts.append(part)
        at += _padded(size)
    return Entry(data, parts)


def _checksum(part: Part) -> int:
    # A piece at a time, so that the processor's caches hold it.
    value = 0
    for first in range(0, len(part), _STEP):
        value = zlib.crc32(part[first : first + _STEP].data, value)
    return value


def _padded(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
