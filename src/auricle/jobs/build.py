"""Puts the parts of jobs together."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from auricle.batching.metrics import Metrics
from auricle.jobs.announcement import announce
from auricle.jobs.audio import AudioFolder
from auricle.jobs.meter import AudioMeter, FreeMeter
from auricle.jobs.presence import Presence
from auricle.jobs.room import QueueRoom
from auricle.jobs.runner import Runner
from auricle.jobs.service import Jobs, Sender
from auricle.jobs.threads import StoreThreads
from auricle.jobs.watchers import Watchers
from auricle.jobs.worker import Fetch, JobTranscriber, Worker

if TYPE_CHECKING:
    from auricle.store.deliveries import DeliveryStore
    from auricle.store.opening import JobStores

_MAX_KEPT = timedelta(hours=1)
"""Of results that nobody fetches, where nothing is to be kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits:
    """How many jobs run at once, how often they are tried, and how long what is kept."""

    max_running: int
    tries: int
    keep_for: timedelta
    keep_audio_for: timedelta = timedelta()
    max_queued: int = 100_000
    max_queued_per_owner: int = 0
    """0 for no limit of its own."""
    zero_retention: bool = False
    """Keep results for an hour at most, and only until they are fetched."""
    close_s: float = 30.0
    """For the end of the server."""


def build_jobs(
    folder: Path,
    *,
    limits: JobLimits,
    open_stores: "Callable[[], JobStores]",
    transcriber: JobTranscriber,
    lease: Callable[[str | None], AbstractAsyncContextManager[object]],
    identify: Callable[[str | None], Awaitable[str]],
    fetch: Fetch,
    meter: AudioMeter | None = None,
    make_sender: "Callable[[DeliveryStore], Sender]",
    metrics: Metrics,
) -> Jobs:
    """The jobs whose audio lies in ``folder``; nothing is opened before they are asked for or started."""
    keep_for, keep_audio_for = limits.keep_for, limits.keep_audio_for
    if limits.zero_retention:
        keep_for, keep_audio_for = min(keep_for, _MAX_KEPT), timedelta()
    threads = StoreThreads(open_stores)
    audio = AudioFolder(folder)
    presence = Presence(folder)
    watchers = Watchers()
    worker = Worker(
        transcriber=transcriber,
        lease=lease,
        identify=identify,
        fetch=fetch,
        meter=meter or FreeMeter(),
        audio=audio,
        threads=threads,
        runner=presence.name,
    )

    def wake_sender() -> None:
        jobs.wake_sender()

    runner = Runner(
        threads=threads,
        worker=worker,
        audio=audio,
        presence=presence,
        watchers=watchers,
        metrics=metrics,
        tell=announce,
        told=wake_sender,
        max_running=limits.max_running,
        max_failures=limits.tries,
        keep_for=keep_for,
        keep_audio=bool(keep_audio_for),
    )
    jobs = Jobs(
        threads=threads,
        runner=runner,
        audio=audio,
        watchers=watchers,
        room=QueueRoom(max_queued=limits.max_queued, max_per_owner=limits.max_queued_per_owner),
        make_sender=make_sender,
        keep_audio_for=keep_audio_for,
        zero_retention=limits.zero_retention,
        close_s=limits.close_s,
    )
    return jobs
