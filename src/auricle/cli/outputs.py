"""Where the results of a command line go: which file has which format."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from auricle.cli.options import split
from auricle.cli.sources import Source
from auricle.errors import InvalidOption
from auricle.formats.registry import FORMATS, SPEAKERS_FORMAT, find_format


def parse_formats(value: str, *, speakers: bool = False) -> tuple[str, ...]:
    """``all``, one format, or several with commas between; raises InvalidOption for others.

    The one that means nothing without ``speakers`` belongs to all only with them.
    """
    names = split(value)
    if names == ("all",):
        return tuple(name for name in FORMATS if speakers or name != SPEAKERS_FORMAT)
    if not names:
        raise InvalidOption(f"--format is empty; choose one of {', '.join([*FORMATS, 'all'])}", param="format")
    for name in names:
        find_format(name)
    return tuple(dict.fromkeys(names))


def plan_outputs(
    sources: Sequence[Source], formats: Sequence[str], folder: Path | None
) -> dict[Source, dict[str, Path]]:
    """A file for each source and format, in ``folder`` or beside the source.

    ``talk.mp3`` gives ``talk.srt``; where two sources would meet there, ``talk.mp3.srt`` and ``talk.wav.srt``.
    No output is ever a source, and no two are the same, also where the file system ignores case.
    """
    bases = {source: _place(source, folder) for source in sources}
    shared = Counter(_same(base.with_suffix("")) for base in bases.values())
    taken = {_same(source.path) for source in sources}
    plan: dict[Source, dict[str, Path]] = {}
    for source, base in bases.items():
        stem = base.name if shared[_same(base.with_suffix(""))] > 1 else base.stem
        number = 1
        while True:
            name = stem if number == 1 else f"{stem}-{number}"
            paths = {form: base.with_name(name + FORMATS[form].suffix) for form in formats}
            if not any(_same(path) in taken for path in paths.values()):
                break
            number, stem = (number + 1, stem) if stem == base.name else (1, base.name)
        taken.update(_same(path) for path in paths.values())
        plan[source] = paths
    return plan


def write_output(path: Path, body: str) -> None:
    """Write ``body`` as UTF-8, all or nothing: who watches the folder never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(body, encoding="utf-8", newline="")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _place(source: Source, folder: Path | None) -> Path:
    return folder / source.name if folder else source.path


def _same(path: Path) -> str:
    return str(path.resolve()).casefold()
