"""Jobs as those who run them see them: claimed, saved clip by clip, put back, ended.

A run belongs to a runner, which renews its lease; whatever it writes is refused once the job is no longer its own. So
a job that was cancelled, or taken over from a runner that seemed dead, is ended once and by one only.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, func, insert, or_, select, update

from auricle.job_types import FINAL, Job, JobSource, JobStatus
from auricle.store.database import translate_errors, writing
from auricle.store.job_rows import dump_source, plain, read_job
from auricle.store.jobs import RESULT_VERSION
from auricle.store.tables import job_parts, job_results, jobs
from auricle.store.transcripts import utc_now

Announce = Callable[[Connection, Job], None]
"""Adds what is to be told of a job's end, within the transaction that ends it."""

MAX_ERROR_CHARS = 2000


def tell_nobody(connection: Connection, job: Job) -> None:
    """An Announce for jobs that nobody waits for."""
    del connection, job


class RunStore:
    """Blocks; threads and processes may share it. Every method raises StoreUnavailable where the database fails."""

    def __init__(self, engine: Engine, *, now: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._now = now

    def claim(self, runner: str, *, place: str, lease: timedelta) -> Job | None:
        """The job whose turn it is: the most urgent one that may run at ``place``, of those the oldest.

        Nobody else gets it.
        """
        now = self._now()
        first = (
            select(jobs.c.id)
            .where(jobs.c.status == "queued", jobs.c.next_at <= now)
            .where(or_(jobs.c.place.is_(None), jobs.c.place == place))
            .order_by(jobs.c.priority, jobs.c.id)
            .limit(1)
        )
        with translate_errors():
            with self._engine.connect() as connection:
                if connection.execute(first).scalar() is None:
                    return None
            with writing(self._engine).begin() as connection:
                job_id = connection.execute(first.with_for_update(skip_locked=True)).scalar()
                row = connection.execute(
                    update(jobs)
                    .where(jobs.c.id == job_id, jobs.c.status == "queued")
                    .values(
                        status="running",
                        runner=runner,
                        lease_until=now + lease,
                        attempts=jobs.c.attempts + 1,
                        started_at=func.coalesce(jobs.c.started_at, now),
                        has_begun=False,
                    )
                    .returning(*jobs.c)
                ).one_or_none()
        return None if row is None else read_job(row)

    def note_source(self, job_id: str, runner: str, *, source: JobSource, audio_s: float | None) -> bool:
        """What is known of the audio by now; False where the run is no longer the runner's."""
        change = update(jobs).where(_run(job_id, runner)).values(source=dump_source(source), audio_s=audio_s)
        with translate_errors(), writing(self._engine).begin() as connection:
            return connection.execute(change).rowcount == 1

    def begin(self, job_id: str, runner: str, *, run_key: str) -> Mapping[int, bytes] | None:
        """The work on the audio begins: a runner that dies from here on counts as a crash of the job.

        Returns the parts of earlier runs with the same ``run_key``; others are thrown away. None where the run is no
        longer the runner's.
        """
        mine = _run(job_id, runner)
        with translate_errors(), writing(self._engine).begin() as connection:
            earlier = connection.execute(select(jobs.c.run_key).where(mine)).scalar()
            if connection.execute(update(jobs).where(mine).values(has_begun=True, run_key=run_key)).rowcount != 1:
                return None
            if earlier != run_key:
                connection.execute(delete(job_parts).where(job_parts.c.job_id == job_id))
            query = select(job_parts.c.number, job_parts.c.body).where(job_parts.c.job_id == job_id)
            return dict(connection.execute(query).all())

    def save(self, job_id: str, runner: str, *, parts: Sequence[tuple[int, bytes]], progress: float) -> bool:
        """Keep finished parts and the progress; False where the run is no longer the runner's."""
        values: dict[str, float | int] = {"progress": progress}
        if parts:
            values |= {"failures": 0, "crashes": 0}
        numbers = [number for number, _ in parts]
        rows = [{"job_id": job_id, "number": number, "body": body} for number, body in parts]
        with translate_errors(), writing(self._engine).begin() as connection:
            if connection.execute(update(jobs).where(_run(job_id, runner)).values(values)).rowcount != 1:
                return False
            if rows:
                connection.execute(
                    delete(job_parts).where(job_parts.c.job_id == job_id, job_parts.c.number.in_(numbers))
                )
                connection.execute(insert(job_parts), rows)
            return True

    def put_back(self, job_id: str, runner: str, *, delay: timedelta, failures: int = 0, crashes: int = 0) -> bool:
        """Have the job run again after ``delay``, with so many more failures and crashes to its account."""
        change = (
            update(jobs)
            .where(_run(job_id, runner))
            .values(
                **_QUEUED,
                next_at=self._now() + delay,
                failures=jobs.c.failures + failures,
                crashes=jobs.c.crashes + crashes,
            )
        )
        with translate_errors(), writing(self._engine).begin() as connection:
            return connection.execute(change).rowcount == 1

    def end(
        self,
        job_id: str,
        status: JobStatus,
        *,
        runner: str | None,
        keep_for: timedelta,
        announce: Announce,
        result: bytes | None = None,
        error: tuple[str, str] | None = None,
    ) -> Job | None:
        """The one end of a job: its status, result and what is told of it, or nothing of them.

        With a ``runner``, only a run of its own is ended. ``error`` is a code and a message. Returns the ended job,
        None where it had ended before or is another's.
        """
        now = self._now()
        code, message = error or (None, None)
        values: dict[str, Any] = {
            "status": status,
            "ended_at": now,
            "expires_at": now + keep_for,
            "runner": None,
            "lease_until": None,
            "error_code": code,
            "error_message": None if message is None else plain(message)[:MAX_ERROR_CHARS],
            "result_size": None if result is None else len(result),
        }
        if status == "succeeded":
            values["progress"] = 1.0
        open_job = (jobs.c.id == job_id) & jobs.c.status.not_in(FINAL)
        mine = open_job if runner is None else _run(job_id, runner)
        with translate_errors(), writing(self._engine).begin() as connection:
            row = connection.execute(update(jobs).where(mine).values(values).returning(*jobs.c)).one_or_none()
            if row is None:
                return None
            job = read_job(row)
            connection.execute(delete(job_parts).where(job_parts.c.job_id == job_id))
            if result is not None:
                kept = {"job_id": job_id, "version": RESULT_VERSION, "body": result}
                connection.execute(insert(job_results).values(kept))
            announce(connection, job)
            return job

    def renew(self, runner: str, *, lease: timedelta) -> None:
        """Tell that the runner lives."""
        change = update(jobs).where(_runs(runner)).values(lease_until=self._now() + lease)
        with translate_errors(), writing(self._engine).begin() as connection:
            connection.execute(change)

    def owned(self, runner: str) -> set[str]:
        """The jobs that the runner is to run."""
        with translate_errors(), self._engine.connect() as connection:
            return set(connection.execute(select(jobs.c.id).where(_runs(runner))).scalars())

    def others(self, runner: str) -> set[str]:
        """The other runners that have jobs, and may be dead."""
        query = select(jobs.c.runner).distinct().where(jobs.c.status == "running", jobs.c.runner != runner)
        with translate_errors(), self._engine.connect() as connection:
            return {name for name in connection.execute(query).scalars() if name is not None}

    def recover(self, runner: str, *, dead: Collection[str]) -> int:
        """Put back the jobs of dead runners and of those whose lease is over; returns how many.

        Runs that had begun count as crashes.
        """
        is_lost = and_(
            jobs.c.status == "running",
            jobs.c.runner != runner,
            or_(jobs.c.runner.in_(dead), jobs.c.lease_until < self._now()),
        )
        change = update(jobs).where(is_lost)
        with translate_errors(), writing(self._engine).begin() as connection:
            begun = connection.execute(
                change.where(jobs.c.has_begun).values(
                    **_QUEUED, failures=jobs.c.failures + 1, crashes=jobs.c.crashes + 1
                )
            )
            return begun.rowcount + connection.execute(change.values(**_QUEUED)).rowcount

    def release(self, runner: str) -> None:
        """Put all jobs of the runner back, for it ends; nothing is counted against them."""
        with translate_errors(), writing(self._engine).begin() as connection:
            connection.execute(update(jobs).where(_runs(runner)).values(**_QUEUED))


_QUEUED = {"status": "queued", "runner": None, "lease_until": None, "has_begun": False}


def _runs(runner: str) -> ColumnElement[bool]:
    return (jobs.c.status == "running") & (jobs.c.runner == runner)


def _run(job_id: str, runner: str) -> ColumnElement[bool]:
    return (jobs.c.id == job_id) & _runs(runner)
