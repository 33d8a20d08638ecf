"""One run of a job, from its source to its transcript; what earlier runs have done is not done again."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Protocol

from auricle.audio.decode import probe_audio
from auricle.audio.fetch import file_sha256
from auricle.errors import AuricleError, JobError
from auricle.job_types import Job, JobSource
from auricle.jobs.audio import AudioFolder
from auricle.jobs.meter import AudioMeter
from auricle.jobs.parts import Part, PartSaver, pack_parts, unpack_parts
from auricle.jobs.threads import StoreThreads
from auricle.pipeline.checkpoint import Checkpoint
from auricle.reuse.key import result_key
from auricle.reuse.request import Reuse
from auricle.types import ClipDone, RequestInfo, TranscribeOptions, Transcript
from auricle.units import GUESSED_BYTES_PER_S

_NOBODY = "jobs"
"""The fair queue's name for the jobs of a server without keys."""
_MAX_AUDIO_S = 1e7
"""What claims to be longer does not know."""


class JobTranscriber(Protocol):
    """What is asked of ``reuse.transcriber.CachingTranscriber``."""

    def stream(
        self,
        source: Path,
        options: TranscribeOptions,
        *,
        model: str | None,
        request: RequestInfo,
        reuse: Reuse | None = None,
        checkpoint: Checkpoint = ...,
    ) -> AsyncGenerator[ClipDone | Transcript, None]: ...


class Fetched(Protocol):
    """A file from a URL; it is gone when it is closed."""

    @property
    def path(self) -> Path: ...
    @property
    def size(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    def close(self) -> None: ...


Fetch = Callable[[str], Awaitable[Fetched]]
"""Fetches a URL, guarded and bounded. Raises InputError; one that is ``retryable`` is tried again."""


class LostRun(Exception):
    """The job is not this runner's any more: it was cancelled, or another one took it over."""


@dataclass(slots=True, kw_only=True)
class Run:
    """A job that is being run, as far as it has come."""

    job: Job
    on_change: Callable[[float], None]
    """Told the audio seconds that were done just now."""
    has_begun: bool = False
    """Whether the work on the audio has begun."""
    has_saved: bool = False
    """Whether clips of this run are kept, so that the next one starts with a clean record."""
    is_ending: bool = False
    """Whether its outcome is being written; nothing stops it then."""
    done_s: float = 0.0
    """Audio up to which all is done."""
    _began: float = field(default_factory=monotonic)
    _skipped_s: float | None = None

    @property
    def progress(self) -> float:
        """Part of the audio that is done; not all of it before the end."""
        if not self.job.audio_s:
            return self.job.progress
        return max(self.job.progress, min(self.done_s / self.job.audio_s, 0.999))

    @property
    def rtfx(self) -> float | None:
        """Audio seconds done per second in this run; None where nothing has been done yet."""
        done_s = self.done_s - (self._skipped_s or 0.0)
        return done_s / (monotonic() - self._began) if done_s > 0 else None

    def begin(self, skipped_s: float) -> None:
        """The work begins; so much of the audio was done by earlier runs."""
        self.has_begun = True
        self._began, self._skipped_s = monotonic(), skipped_s

    def advance(self, done_s: float) -> None:
        """The first ``done_s`` seconds of the audio are done."""
        gained_s = done_s - max(self.done_s, self._skipped_s or 0.0)
        self.done_s = max(self.done_s, done_s)
        self.on_change(max(gained_s, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Does the work of a run. Belongs to one event loop.

    ``lease`` has a model ready for as long as its context is open, ``identify`` tells all of a model that decides
    about the text, ``runner`` is the name under which jobs are claimed.
    """

    transcriber: JobTranscriber
    lease: Callable[[str | None], AbstractAsyncContextManager[object]]
    identify: Callable[[str | None], Awaitable[str]]
    fetch: Fetch
    meter: AudioMeter
    audio: AudioFolder
    threads: StoreThreads
    runner: str

    async def run(self, run: Run) -> Transcript:
        """The transcript of the job. Raises AuricleError, OSError, StoreUnavailable, and LostRun."""
        path = await self._get_audio(run)
        job = run.job
        # The model is there before the audio is touched: what goes wrong with it is not the fault of the job.
        async with self.lease(job.model):
            key = result_key(job.source.sha256 or "", await self.identify(job.model), job.options)
            bodies = await self.threads.write(lambda stores: stores.runs.begin(job.id, self.runner, run_key=key))
            if bodies is None:
                raise LostRun
            done = await asyncio.to_thread(unpack_parts, bodies)
            run.begin(skipped_s=job.progress * (job.audio_s or 0.0))
            async with PartSaver(partial(self._save, run)) as saver:
                return await self._transcribe(run, path, Checkpoint(done=done, save=saver.add))

    async def _transcribe(self, run: Run, path: Path, checkpoint: Checkpoint) -> Transcript:
        job = run.job
        request = RequestInfo(
            request_id=job.id,
            caller=job.owner or _NOBODY,
            priority=job.priority,
            audio_s=job.audio_s,
            on_progress=run.advance,
        )
        reuse = Reuse(sha256=job.source.sha256, scope=job.owner, lingers=False, keep=partial(self.audio.keep, job.id))
        parts = self.transcriber.stream(
            path, job.options, model=job.model, request=request, reuse=reuse, checkpoint=checkpoint
        )
        async with aclosing(parts):
            async for part in parts:
                if isinstance(part, Transcript):
                    return part
        raise AssertionError("a stream ends with its transcript")

    async def _save(self, run: Run, parts: Sequence[Part]) -> None:
        job_id, progress = run.job.id, run.progress
        # Packed in the thread that writes: of a long clip with words that takes a while.
        run.has_saved |= await self.threads.write(
            lambda stores: stores.runs.save(job_id, self.runner, parts=pack_parts(parts), progress=progress)
        )

    async def _get_audio(self, run: Run) -> Path:
        """The audio on disk, with what is known of it in the job."""
        job = run.job
        source, audio_s = job.source, job.audio_s
        path = await asyncio.to_thread(self.audio.find, job.id)
        if path is None or source.path is None:
            if source.url is None:
                raise JobError("The job's audio is not on the server any more.")
            self.meter.check(job.owner)
            path, source = await self._fetch(job.id, source.url, run)
        if source.sha256 is None:
            source = replace(source, sha256=await asyncio.to_thread(file_sha256, path))
        if audio_s is None:
            audio_s = await asyncio.to_thread(probe_seconds, path)
        if job.source.path is None:
            guess_s = (source.size or 0) / GUESSED_BYTES_PER_S
            self.meter.add(job.owner, guess_s if audio_s is None else audio_s)
        if (source, audio_s) != (job.source, job.audio_s):
            run.job = replace(job, source=source, audio_s=audio_s)
            is_mine = await self.threads.write(
                lambda stores: stores.runs.note_source(job.id, self.runner, source=source, audio_s=audio_s)
            )
            if not is_mine:
                raise LostRun
        return path

    async def _fetch(self, job_id: str, url: str, run: Run) -> tuple[Path, JobSource]:
        file = await self.fetch(url)
        try:
            await asyncio.to_thread(self.audio.take, job_id, file.path)
            source = replace(run.job.source, path=job_id, size=file.size, sha256=file.sha256)
        finally:
            await asyncio.to_thread(file.close)
        return self.audio.path / job_id, source


def probe_seconds(path: Path) -> float | None:
    """What the file says of its length; None where it says nothing, or is no audio, which its run will find. Blocks."""
    try:
        audio_s = probe_audio(path).duration_s
    except AuricleError:
        return None
    return audio_s if audio_s is not None and 0 < audio_s < _MAX_AUDIO_S else None
