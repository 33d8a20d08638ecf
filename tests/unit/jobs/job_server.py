"""Jobs around a model in the test's own process, on a database in a folder."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from auricle.audio.fetch import BoundedFile
from auricle.batching.metrics import Metrics
from auricle.job_types import Job, JobSource, NewJob
from auricle.jobs.build import JobLimits, build_jobs
from auricle.jobs.service import Jobs
from auricle.pipeline.transcriber import Transcriber
from auricle.reuse.result_cache import ResultCache
from auricle.reuse.transcriber import CachingTranscriber
from auricle.store.opening import JobStores, open_jobs
from auricle.types import RequestInfo, Timings, TranscribeOptions, Transcript, VadOptions
from one_engine import OneEngine
from samples import load_sample

OPTIONS = TranscribeOptions(language="en", vad_options=VadOptions(max_clip_s=6.0))
"""The minute is about ten clips then."""
MINUTE = load_sample("08_en_60s").path
SHORT = load_sample("01_en_slt").path


@dataclass
class SilentSender:
    """Sends nothing, and counts how often it was woken."""

    woken: int = 0
    is_running: bool = False

    def start(self) -> None:
        self.is_running = True

    def wake(self) -> None:
        self.woken += 1

    async def close(self) -> None:
        self.is_running = False


async def no_network(url: str) -> BoundedFile:
    raise AssertionError(f"{url} is not to be fetched")


@dataclass
class JobServer:
    """What a server has of jobs; ``running`` is its life."""

    folder: Path
    engine: OneEngine = field(default_factory=OneEngine)
    fetch: Callable[[str], Awaitable[BoundedFile]] = no_network
    open_stores: Callable[[], JobStores] | None = None
    limits: JobLimits = field(default_factory=lambda: JobLimits(max_running=2, tries=3, keep_for=timedelta(days=1)))
    sender: SilentSender = field(default_factory=SilentSender)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.transcriber = CachingTranscriber(
            Transcriber(cast("Any", self.engine), max_windows_in_flight=2, max_audio_s=None),
            cache=ResultCache(lambda: None),
            identify=self._identify,
            metrics=self.metrics,
            grace_s=60.0,
        )
        self.jobs: Jobs = build_jobs(
            self.folder / "jobs",
            limits=self.limits,
            open_stores=self.open_stores or (lambda: open_jobs(self.folder)),
            transcriber=self.transcriber,
            lease=self.engine.lease,
            identify=self._identify,
            fetch=self.fetch,
            make_sender=lambda store: self.sender,
            metrics=self.metrics,
        )

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Jobs]:
        self.jobs.start()
        try:
            yield self.jobs
        finally:
            await self.jobs.close()
            await self.transcriber.close()

    def audio(self) -> list[str]:
        """The jobs whose audio is kept."""
        return [path.name for path in (self.folder / "jobs").iterdir() if not path.name.startswith(".")]

    async def _identify(self, name: str | None) -> str:
        return name or "default"


def new_job(path: Path = SHORT, **changes: Any) -> NewJob:
    return NewJob(source=JobSource(kind="file", name=path.name, path=str(path)), options=OPTIONS, **changes)


async def ended(jobs: Jobs, job: Job) -> Job:
    """The job after its end."""
    async with asyncio.timeout(60):
        return [one async for one in jobs.watch(job.id, owner=None)][-1]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110  what is waited for is in a database
            await asyncio.sleep(0.01)


async def expected(path: Path) -> Transcript:
    """What an unbroken run gives."""
    transcriber = Transcriber(cast("Any", OneEngine()), max_windows_in_flight=2, max_audio_s=None)
    return untimed(await transcriber.run(path, OPTIONS, model=None, request=RequestInfo(request_id="r")))


def untimed(transcript: Transcript) -> Transcript:
    return replace(transcript, timings=Timings())


async def abandon(jobs: Jobs) -> None:
    """End the work on jobs without a word to the database, as far as a living process can."""
    for task in jobs._runner._tasks.values():
        task.cancel()
    assert jobs._task is not None
    jobs._runner._stop = _nothing  # pyright: ignore[reportAttributeAccessIssue]
    jobs._task.cancel()
    with suppress(asyncio.CancelledError):
        await jobs._task
    # The lock of a process that was killed is free, and its file is there.
    presence = jobs._runner._presence
    presence._lock.release()
    presence._file_of(presence.name).touch()


async def _nothing() -> None:
    return None
