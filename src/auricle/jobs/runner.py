"""Claims jobs and has them run, some at a time; what becomes of each is written once."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from auricle.batching.metrics import Metrics
from auricle.errors import AuricleError, JobError
from auricle.job_types import Job, JobStatus
from auricle.jobs.audio import AudioFolder
from auricle.jobs.outcome import MAX_CRASHES, Again, judge, killed_engine
from auricle.jobs.presence import Presence
from auricle.jobs.threads import StoreThreads
from auricle.jobs.watchers import Watchers
from auricle.jobs.worker import LostRun, Run, Worker
from auricle.pipeline.speed import Speed
from auricle.store.unavailable import StoreUnavailable
from auricle.types import Transcript

if TYPE_CHECKING:
    from auricle.store.job_runs import Announce
    from auricle.store.opening import JobStores

T = TypeVar("T")

POLL_S = 1.0
"""How soon changes are noticed that other processes make."""
LEASE = timedelta(seconds=60)
"""A runner that is silent for so long, and whose end nobody has seen, is taken for dead."""
_RENEW_S = 15.0
_RECOVER_S = 5.0
_PAUSE_S = 2.0
"""Between two tries of a write, where the database does not work."""
_LAST_WORDS_S = 5.0
"""For outcomes that are being written when the server stops."""
_LOST_DELAY = timedelta(seconds=30)

_log = logging.getLogger("auricle.jobs")


class Runner:
    """Runs up to ``max_running`` jobs at once. Belongs to one event loop.

    ``tell`` makes what is written of a job's end beside it, given its transcript; ``told`` is called after that.
    ``keep_for`` is how long jobs are kept after their end, ``keep_audio`` whether their audio stays for now.
    """

    def __init__(
        self,
        *,
        threads: StoreThreads,
        worker: Worker,
        audio: AudioFolder,
        presence: Presence,
        watchers: Watchers,
        metrics: Metrics,
        tell: "Callable[[Transcript | None], Announce]",
        told: Callable[[], None],
        max_running: int,
        max_failures: int,
        keep_for: timedelta,
        keep_audio: bool,
    ) -> None:
        self._threads = threads
        self._worker = worker
        self._audio = audio
        self._presence = presence
        self._watchers = watchers
        self._metrics = metrics
        self._tell = tell
        self._told = told
        self._max_running = max_running
        self._max_failures = max_failures
        self._keep_for = keep_for
        self._keep_audio = keep_audio
        self._speed = Speed(time.monotonic)
        self._runs: dict[str, Run] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        self._due: dict[str, float] = {}
        self._place = ""
        self._has_complained = False

    @property
    def name(self) -> str:
        """Under which it claims jobs."""
        return self._presence.name

    @property
    def rtfx(self) -> float | None:
        """Audio seconds that all runs together do in a second; None where nothing has been seen yet."""
        self._speed.pass_time(is_busy=bool(self._runs))
        return self._speed.rtfx

    def running(self, job_id: str) -> Run | None:
        """The run of a job, if it is here."""
        return self._runs.get(job_id)

    def wake(self) -> None:
        """There is a job to run."""
        self._woken.set()

    def cancel(self, job_id: str) -> None:
        """End the run of a job that has ended otherwise; its rows leave the queue at once."""
        run = self._runs.get(job_id)
        if run is not None and not run.is_ending:
            self._tasks[job_id].cancel()

    def appear(self) -> None:
        """Be ready to claim, and seen as alive. Blocks; raises OSError."""
        self._place = self._audio.open()
        self._presence.begin()

    async def run(self) -> None:
        """Claim and run until it is cancelled; then put back what has not ended, with all that is done of it."""
        try:
            while True:
                self._woken.clear()
                try:
                    await self._look_after_runs()
                    await self._claim()
                    self._has_complained = False
                except StoreUnavailable as exc:
                    self._complain(exc)
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await self._woken.wait()
        finally:
            await self._stop()

    async def end(self, job_id: str, status: JobStatus) -> Job | None:
        """End a job that need not run here, as its owner wishes; None where it has ended already."""
        job = await self._threads.write(
            lambda stores: stores.runs.end(
                job_id, status, runner=None, keep_for=self._keep_for, announce=self._tell(None)
            )
        )
        if job is not None:
            await self._finish(job)
        return job

    async def _stop(self) -> None:
        for job_id in list(self._runs):
            self.cancel(job_id)
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_WORDS_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(StoreUnavailable):
            await self._threads.write(lambda stores: stores.runs.release(self.name))
        await asyncio.to_thread(self._presence.end)

    async def _look_after_runs(self) -> None:
        """End runs of jobs that are not ours any more, tell that we live, take over from those who do not."""
        mine = await self._threads.read(lambda stores: stores.runs.owned(self.name))
        for job_id in set(self._runs) - mine:
            self.cancel(job_id)
        for job_id in mine - set(self._runs):
            _log.error("job %s: its run ended without an outcome", job_id)
            await self._threads.write(partial(_put_back_lost, job_id=job_id, runner=self.name))
        if self._runs and self._is_due("renew", _RENEW_S):
            await self._threads.write(lambda stores: stores.runs.renew(self.name, lease=LEASE))
        if self._is_due("recover", _RECOVER_S):
            await self._recover()
            counts = await self._threads.read(lambda stores: stores.jobs.counts())
            self._metrics.set_jobs(counts)

    async def _recover(self) -> None:
        others = await self._threads.read(lambda stores: stores.runs.others(self.name))
        if not others:
            return
        dead = [name for name in others if await asyncio.to_thread(self._presence.is_dead, name)]
        back = await self._threads.write(lambda stores: stores.runs.recover(self.name, dead=dead))
        if back:
            _log.warning("%d jobs of a server that ended are taken up again", back)

    async def _claim(self) -> None:
        while len(self._runs) < self._max_running:
            job = await self._threads.write(lambda stores: stores.runs.claim(self.name, place=self._place, lease=LEASE))
            if job is None:
                return
            self._start(job)

    def _start(self, job: Job) -> None:
        def note_done(audio_s: float) -> None:
            self._speed.pass_time(is_busy=True)
            self._speed.add(audio_s)
            self._watchers.ring(job.id)

        def forget(task: asyncio.Task[None]) -> None:
            self._speed.pass_time(is_busy=True)
            del self._runs[job.id], self._tasks[job.id]
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("job %s: its outcome could not be written", job.id, exc_info=error)
            self._watchers.ring(job.id)
            self.wake()

        self._speed.pass_time(is_busy=bool(self._runs))
        run = Run(job=job, on_change=note_done)
        self._runs[job.id] = run
        self._tasks[job.id] = asyncio.create_task(self._run(run), name=f"job-{job.id}")
        self._tasks[job.id].add_done_callback(forget)
        self._watchers.ring(job.id)

    async def _run(self, run: Run) -> None:
        job = run.job
        _log.info("job %s: run %d begins", job.id, job.attempts)
        try:
            if job.crashes >= MAX_CRASHES:
                raise killed_engine()
            transcript = await self._worker.run(run)
        except LostRun:
            return
        except AuricleError as error:
            await self._settle(run, error, may_pass=error.retryable)
        except StoreUnavailable as error:
            self._complain(error)
            await self._put_back(run, Again(delay_s=_PAUSE_S))
        except OSError as error:
            _log.warning("job %s: the run broke off: %s", job.id, error)
            await self._settle(run, JobError(f"A file could not be read or written: {error.strerror}."), may_pass=True)
        except Exception as error:  # noqa: BLE001  whatever it is, the job's owner must hear of it
            _log.exception("job %s failed in an unexpected way", job.id)
            reason = f"The job failed in an unexpected way ({type(error).__name__}); the server's log has the details."
            await self._end(run, "failed", error=AuricleError(reason))
        else:
            await self._end(run, "succeeded", transcript=transcript)

    async def _settle(self, run: Run, error: AuricleError, *, may_pass: bool) -> None:
        verdict = judge(
            error,
            may_pass=may_pass,
            failures=0 if run.has_saved else run.job.failures,
            crashes=0 if run.has_saved else run.job.crashes,
            has_begun=run.has_begun,
            max_failures=self._max_failures,
            chance=random.random(),  # noqa: S311
        )
        if isinstance(verdict, Again):
            _log.info("job %s: runs again in %.1f s: %s", run.job.id, verdict.delay_s, error.code)
            await self._put_back(run, verdict)
        else:
            await self._end(run, "failed", error=verdict)

    async def _put_back(self, run: Run, again: Again) -> None:
        run.is_ending = True
        await self._persist(
            lambda stores: stores.runs.put_back(
                run.job.id,
                self.name,
                delay=timedelta(seconds=again.delay_s),
                failures=again.failures,
                crashes=again.crashes,
            )
        )

    async def _end(
        self,
        run: Run,
        status: JobStatus,
        *,
        transcript: Transcript | None = None,
        error: AuricleError | None = None,
    ) -> None:
        from auricle.store.jobs import pack_result  # noqa: PLC0415  loaded by now

        run.is_ending = True
        result = None if transcript is None else await asyncio.to_thread(pack_result, transcript)
        announce = self._tell(transcript)
        job = await self._persist(
            lambda stores: stores.runs.end(
                run.job.id,
                status,
                runner=self.name,
                keep_for=self._keep_for,
                announce=announce,
                result=result,
                error=None if error is None else (error.code, error.message),
            )
        )
        if job is not None:
            await self._finish(job)

    async def _finish(self, job: Job) -> None:
        """After the end is written."""
        self._told()
        self._watchers.ring(job.id)
        if job.ended_at is not None:
            self._metrics.add_job(job.status, (job.ended_at - job.created_at).total_seconds())
        _log.info("job %s: %s, runs: %d, error: %s", job.id, job.status, job.attempts, job.error_code)
        if not self._keep_audio:
            await asyncio.to_thread(self._audio.remove, job.id)

    async def _persist(self, call: "Callable[[JobStores], T]") -> T:
        """Write, however long the database is away."""
        while True:
            try:
                return await self._threads.write(call)
            except StoreUnavailable as exc:
                self._complain(exc)
                await asyncio.sleep(_PAUSE_S)

    def _is_due(self, what: str, every_s: float) -> bool:
        now = time.monotonic()
        if self._due.get(what, now) > now:
            return False
        self._due[what] = now + every_s
        return True

    def _complain(self, error: StoreUnavailable) -> None:
        if not self._has_complained:
            self._has_complained = True
            _log.error("jobs wait, since their database cannot be used: %s", error)


def _put_back_lost(stores: "JobStores", *, job_id: str, runner: str) -> None:
    stores.runs.put_back(job_id, runner, delay=_LOST_DELAY, failures=1)
