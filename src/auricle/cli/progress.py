"""The bar that ``auricle transcribe`` shows while it works, on standard error."""

import time
from collections.abc import Generator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from auricle.cli.console import stderr


class AudioBar:
    """Counts the audio seconds that are done, over all files."""

    def __init__(self, progress: Progress, audio_s: float) -> None:
        self._progress = progress
        self._audio_s = audio_s
        self._done: dict[object, float] = {}
        self._start = time.monotonic()
        self._bar = progress.add_task("", total=audio_s or None, note="")

    def advance(self, source: object, done_s: float) -> None:
        """Of ``source``, ``done_s`` seconds are done now."""
        self._done[source] = max(done_s, self._done.get(source, 0.0))
        done = sum(self._done.values())
        rtfx = done / max(time.monotonic() - self._start, 1e-3)
        note = f"{clock(done)} of {clock(self._audio_s)}, {rtfx:.1f}x"
        self._progress.update(self._bar, completed=done, total=max(done, self._audio_s), note=note)


@contextmanager
def audio_bar(audio_s: float, *, shown: bool) -> Generator[AudioBar]:
    """A bar for files of ``audio_s`` seconds in all; it vanishes at the end."""
    columns = SpinnerColumn(), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn()
    with Progress(*columns, console=stderr(), transient=True, disable=not shown) as progress:
        yield AudioBar(progress, audio_s)


def clock(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
