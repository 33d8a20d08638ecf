"""Many files through one backend at once: this process, or a server."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from auricle.cli.console import say, say_error
from auricle.cli.exit_codes import FAILED, OK, exit_code
from auricle.cli.progress import AudioBar
from auricle.cli.sources import Source
from auricle.errors import AuricleError
from auricle.types import Transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What turns a file into a transcript."""

    model: str
    transcribe: Callable[[Source, Callable[[float], None]], Awaitable[Transcript]]
    """Calls back with the seconds of the file that are done."""


async def transcribe_files(
    backend: Backend,
    sources: Sequence[Source],
    deliver: Callable[[Source, Transcript], str],
    *,
    bar: AudioBar,
    at_once: int,
    quiet: bool,
) -> int:
    """Transcribe all ``sources``, ``at_once`` at a time; return the exit code of the first in order that failed.

    ``deliver`` puts a transcript where it belongs and says where that is. A file that fails stops no other.
    """
    turns = asyncio.Semaphore(at_once)
    began = time.monotonic()
    audio_s = 0.0

    async def one(source: Source) -> int:
        async with turns:
            start = time.monotonic()
            try:
                transcript = await backend.transcribe(source, lambda done: bar.advance(source, done))
                place = deliver(source, transcript)
            except AuricleError as error:
                say_error(f"{source.name}: {error.message}")
                return exit_code(error)
            except OSError as error:
                say_error(f"{source.name}: {error}")
                return FAILED
            bar.advance(source, transcript.duration)
            nonlocal audio_s
            audio_s += transcript.duration
            if not quiet:
                _summarise(source, transcript, time.monotonic() - start, backend.model, place)
            return OK

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(source)) for source in sources]
    codes = [task.result() for task in tasks]
    if not quiet and len(sources) > 1:
        say(f"{codes.count(OK)} of {len(codes)} files: {_speed(audio_s, time.monotonic() - began)}")
    return next((code for code in codes if code != OK), OK)


def _summarise(source: Source, transcript: Transcript, elapsed: float, model: str, place: str) -> None:
    for warning in transcript.warnings:
        say(f"warning: {source.name}: {warning}")
    language = transcript.language or "no speech"
    say(f"{source.name}: {_speed(transcript.duration, elapsed)}, {language}, {model}{place}")


def _speed(audio_s: float, elapsed: float) -> str:
    return f"{audio_s:.1f} s in {elapsed:.1f} s ({audio_s / max(elapsed, 1e-3):.1f}x)"
