"""Which files a command line names: files, folders, standard input."""

import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from auricle.errors import AudioTooLarge, EmptyAudio, InvalidOption

DASH = Path("-")
"""Standard input as a source, standard output as a destination."""
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """One file to transcribe."""

    path: Path
    """Where its bytes are."""
    name: Path
    """What outputs are named after: the file's name, below the folder that was asked for."""


def collect_sources(
    paths: Sequence[Path], *, recursive: bool, is_media: Callable[[Path], bool]
) -> tuple[list[Source], list[Path]]:
    """The files that ``paths`` mean, each once, and those files of folders that are not media.

    A file that is named itself is taken unseen: what is wrong with it is told when it is read.
    Folders are sorted; hidden files and folders in them are left out.
    """
    sources: dict[Path, Source] = {}
    skipped: list[Path] = []
    for path in paths:
        if not path.is_dir():
            sources.setdefault(path.resolve(), Source(path, Path(path.name)))
            continue
        for file in sorted(_files_in(path, recursive=recursive)):
            if is_media(file):
                sources.setdefault(file.resolve(), Source(file, file.relative_to(path)))
            else:
                skipped.append(file)
    return list(sources.values()), skipped


@contextmanager
def spool(stream: BinaryIO, *, max_mb: float) -> Generator[Source]:
    """The bytes of ``stream`` as a file, which is removed afterwards.

    Raises EmptyAudio, AudioTooLarge, and InvalidOption where the stream is a terminal.
    """
    if stream.isatty():
        raise InvalidOption("`-` reads audio from standard input, and that is a terminal; pipe a file into it")
    handle, name = tempfile.mkstemp(prefix="auricle-stdin-")
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            size = 0
            while piece := stream.read(_PIECE):
                size += len(piece)
                if size > max_mb * 2**20:
                    raise AudioTooLarge(
                        f"standard input holds more than {max_mb:g} MiB; AURICLE_MAX_UPLOAD_MB sets the limit"
                    )
                file.write(piece)
        if size == 0:
            raise EmptyAudio("standard input is empty")
        yield Source(path, Path("stdin"))
    finally:
        path.unlink(missing_ok=True)


def _files_in(folder: Path, *, recursive: bool) -> Iterable[Path]:
    for file in folder.rglob("*") if recursive else folder.iterdir():
        is_hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if not is_hidden and file.is_file():
            yield file
