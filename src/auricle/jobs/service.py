"""Jobs as those who ask for them see them: accepted, watched, cancelled, fetched."""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from auricle.audio.fetch import file_sha256
from auricle.errors import (
    Busy,
    IdempotencyConflict,
    InvalidOption,
    JobCancelled,
    JobError,
    JobNotFinished,
    JobNotFound,
    NotFound,
    QueueFull,
)
from auricle.job_types import Job, JobStatus, NewJob
from auricle.jobs.acceptance import check_new, request_hash
from auricle.jobs.audio import AudioFolder
from auricle.jobs.ids import new_id
from auricle.jobs.outcome import error_of
from auricle.jobs.room import QueueRoom
from auricle.jobs.runner import POLL_S, Runner
from auricle.jobs.threads import StoreThreads
from auricle.jobs.watchers import Watchers
from auricle.jobs.worker import probe_seconds
from auricle.store.unavailable import StoreUnavailable
from auricle.types import Transcript

if TYPE_CHECKING:
    from auricle.store.deliveries import Delivery, DeliveryStore
    from auricle.store.opening import JobStores

T = TypeVar("T")

_ID = re.compile(r"[0-9A-Za-z-]{1,36}")
_HOUSEKEEPING_S = 60.0
_OPEN_PAUSE_S = 5.0
_WATCH_GAP_S = 0.2
"""Between two looks at a job that is watched, however often it changes."""
_FETCHED = timedelta(seconds=60)
"""Without retention, a result that was fetched can be fetched again for so long, should the answer get lost."""

_log = logging.getLogger("auricle.jobs")


class Sender(Protocol):
    """What is asked of ``jobs.webhook.WebhookSender``."""

    def start(self) -> None: ...
    def wake(self) -> None: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """Some jobs, the newest first; ``after`` leads to those behind them, where there are any."""

    jobs: tuple[Job, ...]
    after: str | None


class Jobs:
    """Belongs to one event loop. Every method raises Busy where the database does not work, and takes the owner whose
    jobs it is about; None stands for all owners.

    ``keep_audio_for`` is how long the audio of an ended job stays; ``zero_retention`` has results forgotten when they
    were fetched. ``close_s`` is how long ``close`` may take.
    """

    def __init__(
        self,
        *,
        threads: StoreThreads,
        runner: Runner,
        audio: AudioFolder,
        watchers: Watchers,
        room: QueueRoom,
        make_sender: "Callable[[DeliveryStore], Sender]",
        keep_audio_for: timedelta,
        zero_retention: bool,
        close_s: float,
    ) -> None:
        self._threads = threads
        self._runner = runner
        self._audio = audio
        self._watchers = watchers
        self._room = room
        self._make_sender = make_sender
        self._keep_audio_for = keep_audio_for
        self._zero_retention = zero_retention
        self._close_s = close_s
        self._sender: Sender | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to run jobs, those included that an earlier process has left."""
        self._task = asyncio.create_task(self._run(), name="jobs")
        self._task.add_done_callback(_tell_of_end)

    async def close(self) -> None:
        """Stop; running jobs are put back with what is done of them, for the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=self._close_s)
        await self._threads.close()

    def wake_sender(self) -> None:
        """There is a webhook message to be sent."""
        if self._sender is not None:
            self._sender.wake()

    async def submit(self, new: NewJob, *, owner: str) -> tuple[Job, bool]:
        """Accept a job, durably, and whether it is a new one: the same request with the same idempotency key gives
        the job that it gave before.

        Raises IdempotencyConflict where the key was used for another request, InvalidOption where it cannot be a key.
        """
        check_new(new)
        job_id = new_id()
        source, audio_s = new.source, new.audio_s
        if source.path is not None:
            path = Path(source.path)
            sha256 = source.sha256 or await asyncio.to_thread(file_sha256, path)
            audio_s = audio_s or await asyncio.to_thread(probe_seconds, path)
            await self._take(job_id, path)
            source = replace(source, path=job_id, sha256=sha256)
        job = Job(
            id=job_id,
            owner=owner,
            status="queued",
            options=new.options,
            source=source,
            created_at=datetime.now(UTC),
            model=new.model,
            priority=new.priority,
            webhook=new.webhook,
            metadata=new.metadata,
            idempotency_key=new.idempotency_key,
            audio_s=audio_s,
        )
        asked = request_hash(job)
        place = None if source.path is None else await asyncio.to_thread(self._audio.open)
        try:
            kept, its_hash = await self._write(lambda stores: self._add(stores, job, asked, place))
        except QueueFull:
            await asyncio.to_thread(self._audio.remove, job_id)
            raise
        # What fails otherwise may be in the database nevertheless; if it is not, the audio is swept up later.
        if kept.id == job_id:
            self._runner.wake()
            return kept, True
        await asyncio.to_thread(self._audio.remove, job_id)
        if its_hash != asked:
            raise IdempotencyConflict(
                f"The idempotency key was used for another request, which became job {kept.id}.",
                param="idempotency_key",
            )
        return kept, False

    async def get(self, job_id: str, *, owner: str | None) -> Job:
        """The job as it is now. Raises JobNotFound, for jobs of others too."""
        job = None
        if _ID.fullmatch(job_id):
            job = await self._read(lambda stores: stores.jobs.get(job_id, owner=owner))
        if job is None:
            raise JobNotFound(f"There is no job {job_id[:64]!r}; jobs are forgotten some time after their end.")
        run = self._runner.running(job.id)
        return job if run is None or job.status != "running" else replace(job, progress=run.progress)

    async def find(self, idempotency_key: str, *, owner: str) -> Job | None:
        """The job that was accepted with this key."""
        return await self._read(lambda stores: stores.jobs.find_by_key(idempotency_key, owner=owner))

    async def release_key(self, job: Job) -> None:
        """Have the job's idempotency key make another job the next time that it is used."""
        await self._write(lambda stores: stores.jobs.release_key(job.id))

    async def list(
        self,
        *,
        owner: str | None,
        status: JobStatus | Sequence[JobStatus] | None = None,
        model: str | None = None,
        limit: int = 20,
        after: str | None = None,
    ) -> JobPage:
        """The newest jobs first, from the one behind ``after`` on."""
        if after is not None and not _ID.fullmatch(after):
            raise InvalidOption(f"after: {after[:64]!r} is not the id of a job.", param="after")
        asked = (status,) if isinstance(status, str) else tuple(status or ())
        found = await self._read(
            lambda stores: stores.jobs.page(owner=owner, status=asked, model=model, limit=limit + 1, after=after)
        )
        page = tuple(found[:limit])
        return JobPage(jobs=page, after=page[-1].id if len(found) > limit else None)

    async def position(self, job: Job) -> int | None:
        """The place of a queued job in the queue, from 1 on; 0 for one that runs, None for one that has ended."""
        if job.status != "queued":
            return None if job.is_final else 0
        return 1 + (await self._read(lambda stores: stores.jobs.backlog(job))).jobs

    async def eta_s(self, job: Job) -> float | None:
        """Seconds until the job's end at the speed of late; None where that is not known, 0 where it has ended."""
        if job.is_final:
            return 0.0
        if job.audio_s is None:
            return None
        left_s = job.audio_s * (1 - job.progress)
        run = self._runner.running(job.id)
        if run is not None and run.rtfx:
            return left_s / run.rtfx
        rtfx = self._runner.rtfx
        if rtfx is None:
            return None
        if job.status == "running":
            return left_s / rtfx
        backlog = await self._read(lambda stores: stores.jobs.backlog(job))
        return None if backlog.unknown else (backlog.audio_s + left_s) / rtfx

    async def result(self, job_id: str, *, owner: str | None) -> Transcript:
        """The transcript of a job that succeeded. Raises JobNotFinished, JobCancelled, or what the job failed with."""
        job = await self.get(job_id, owner=owner)
        if not job.is_final:
            raise JobNotFinished(f"The job is {job.status}; it has no result yet.", retry_after_s=POLL_S)
        if job.status == "cancelled":
            raise JobCancelled("The job was cancelled, so there is no result.")
        if job.status == "failed":
            raise error_of(job.error_code, job.error_message)
        transcript = await self._read(lambda stores: stores.jobs.result(job_id))
        if transcript is None:
            raise JobError("The job's result cannot be read: another version of Auricle has written it.")
        if self._zero_retention:
            await self._write(lambda stores: stores.jobs.expire(job_id, datetime.now(UTC) + _FETCHED))
        return transcript

    async def cancel(self, job_id: str, *, owner: str | None) -> Job:
        """Cancel a job that has not ended; its work ends at once. One that has ended stays as it is."""
        job = await self.get(job_id, owner=owner)
        if not job.is_final:
            try:
                await self._runner.end(job_id, "cancelled")
            except StoreUnavailable as exc:
                raise _busy(exc) from exc
            self._runner.cancel(job_id)
            job = await self.get(job_id, owner=owner)
        return job

    async def delete(self, job_id: str, *, owner: str | None) -> None:
        """Forget a job with all that belongs to it, webhook messages too; one that has not ended is cancelled."""
        await self.cancel(job_id, owner=owner)
        await self._write(lambda stores: stores.jobs.delete(job_id))
        await asyncio.to_thread(self._audio.remove, job_id)

    async def watch(self, job_id: str, *, owner: str | None) -> AsyncGenerator[Job, None]:
        """The job now and after each change, until it has ended or is forgotten. Raises JobNotFound at first only."""
        with self._watchers.listen(job_id) as changed:
            seen = await self.get(job_id, owner=owner)
            yield seen
            while not seen.is_final:
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await changed.wait()
                changed.clear()
                try:
                    job = await self.get(job_id, owner=owner)
                except JobNotFound:
                    return
                if job != seen:
                    seen = job
                    yield job
                await asyncio.sleep(0 if seen.is_final else _WATCH_GAP_S)

    async def deliveries(self, job_id: str, *, owner: str | None) -> "list[Delivery]":
        """The webhook messages about a job, oldest first."""
        job = await self.get(job_id, owner=owner)
        return await self._read(lambda stores: stores.deliveries.list_for_job(job_id, owner=job.owner))

    async def redeliver(self, delivery_id: str, *, owner: str) -> "Delivery":
        """Send a webhook message anew, whatever became of it. Raises NotFound."""
        delivery = None
        if _ID.fullmatch(delivery_id):
            delivery = await self._write(lambda stores: stores.deliveries.redeliver(delivery_id, owner=owner))
        if delivery is None:
            raise NotFound(f"There is no webhook message {delivery_id[:64]!r}.")
        self.wake_sender()
        return delivery

    async def _run(self) -> None:
        stores = await self._open()
        self._sender = self._make_sender(stores.deliveries)
        self._sender.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._runner.run())
                group.create_task(self._keep_house())
        finally:
            await self._sender.close()

    async def _open(self) -> "JobStores":
        while True:
            try:
                stores = await self._threads.write(lambda stores: stores)
                await asyncio.to_thread(self._runner.appear)
            except (StoreUnavailable, OSError) as exc:
                _log.error("jobs cannot be run, trying again in %g s: %s", _OPEN_PAUSE_S, exc)
                await asyncio.sleep(_OPEN_PAUSE_S)
            else:
                return stores

    async def _keep_house(self) -> None:
        """Forget what is over, and remove audio that no job needs any more."""
        while True:
            try:
                await self._threads.write(lambda stores: stores.jobs.purge())
                await asyncio.to_thread(self._sweep, await self._threads.write(lambda stores: stores))
            except (StoreUnavailable, OSError) as exc:
                _log.warning("old jobs stay for now: %s", exc)
            await asyncio.sleep(_HOUSEKEEPING_S)

    def _sweep(self, stores: "JobStores") -> None:
        before = datetime.now(UTC) - self._keep_audio_for
        self._audio.sweep(lambda names: stores.jobs.need_audio(names, ended_after=before))

    def _add(self, stores: "JobStores", job: Job, asked: str, place: str | None) -> tuple[Job, str]:
        key = job.idempotency_key
        # A job that is there already needs no room.
        if key is None or stores.jobs.find_by_key(key, owner=job.owner) is None:
            self._room.take(stores, job.owner)
        return stores.jobs.add(job, request_hash=asked, place=place)

    async def _take(self, job_id: str, path: Path) -> None:
        try:
            await asyncio.to_thread(self._audio.open)
            await asyncio.to_thread(self._audio.take, job_id, path)
        except OSError as exc:
            raise Busy(f"The job's audio cannot be kept now: {exc.strerror}.", retry_after_s=60) from exc

    async def _read(self, call: "Callable[[JobStores], T]") -> T:
        try:
            return await self._threads.read(call)
        except StoreUnavailable as exc:
            raise _busy(exc) from exc

    async def _write(self, call: "Callable[[JobStores], T]") -> T:
        try:
            return await self._threads.write(call)
        except StoreUnavailable as exc:
            raise _busy(exc) from exc


def _tell_of_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.critical("jobs are not run any more", exc_info=error)


def _busy(error: StoreUnavailable) -> Busy:
    _log.error("a request about jobs failed: %s", error)
    return Busy("The database of the jobs cannot be used now; try again later.", retry_after_s=5)
