"""Where ``auricle transcribe`` has its work done: in this process, or on a server."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from types import MappingProxyType

from auricle.audio.decode import probe_audio
from auricle.cli.console import stderr
from auricle.cli.fetch_model import fetch_model
from auricle.cli.progress import audio_bar
from auricle.cli.remote import open_remote
from auricle.cli.sources import Source
from auricle.cli.speakers import Known, with_voices
from auricle.cli.transcribe_files import Backend, transcribe_files
from auricle.config import Settings
from auricle.errors import InputError
from auricle.pipeline.transcriber import fit_options
from auricle.runtime import default_model_name, open_runtime
from auricle.types import Priority, RequestInfo, TranscribeOptions, Transcript


async def run(
    sources: Sequence[Source],
    deliver: Callable[[Source, Transcript], str],
    options: TranscribeOptions,
    *,
    settings: Settings,
    server: str | None,
    priority: Priority,
    at_once: int,
    quiet: bool,
    known: Known = MappingProxyType({}),
) -> int:
    """Transcribe ``sources`` and return the exit code; see ``transcribe_files``. ``known`` speakers have names."""
    shown = not quiet and stderr().is_terminal
    audio_s = sum(audio_seconds(source.path) or 0.0 for source in sources) if shown else 0.0
    opened = (
        open_remote(server, options, settings=settings, known=known)
        if server
        else _open_local(settings, options, priority=priority, known=known)
    )
    async with opened as backend:
        with audio_bar(audio_s, shown=shown) as bar:
            return await transcribe_files(backend, sources, deliver, bar=bar, at_once=at_once, quiet=quiet)


def audio_seconds(path: Path) -> float | None:
    """Length of a media file as its header has it, 0.0 where it does not; None where there is no audio in it."""
    try:
        return probe_audio(path).duration_s or 0.0
    except (InputError, OSError):
        return None


@asynccontextmanager
async def _open_local(
    settings: Settings, options: TranscribeOptions, *, priority: Priority, known: Known
) -> AsyncGenerator[Backend]:
    options = await asyncio.to_thread(with_voices, options, known)
    fetch_model(default_model_name(settings), settings)
    runtime = open_runtime(settings)

    async def transcribe(source: Source, on_progress: Callable[[float], None]) -> Transcript:
        request = RequestInfo(request_id=uuid.uuid4().hex, priority=priority)
        async with aclosing(runtime.transcriber.stream(source.path, options, model=None, request=request)) as parts:
            async for part in parts:
                if isinstance(part, Transcript):
                    return part
                on_progress(part.end)
        raise AssertionError("a stream ends with its transcript")

    try:
        # Before any file, so that what is wrong with the model is said once.
        async with runtime.models.lease() as model:
            fit_options(options, model)
            yield Backend(model=model.name, transcribe=transcribe)
    finally:
        await runtime.close()
