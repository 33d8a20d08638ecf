"""Jobs as their owners see them: accepted, listed, looked up, forgotten. What runs them is in ``job_runs``."""

import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, Engine, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from auricle.job_types import FINAL, Job, JobStatus
from auricle.store.database import translate_errors, writing
from auricle.store.deliveries import delete_deliveries
from auricle.store.job_rows import job_values, plain, read_job
from auricle.store.tables import deliveries, job_results, jobs
from auricle.store.transcripts import utc_now
from auricle.types import Transcript

RESULT_VERSION = 1
"""Of the shape of a stored transcript."""

_TRANSCRIPT = TypeAdapter(Transcript)
_IDS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The work that goes before a queued job."""

    jobs: int
    """That wait before it."""
    audio_s: float
    """Of those that wait before it and of those that run, as far as it is known."""
    unknown: int
    """Jobs among them whose audio nobody has looked at yet."""


class JobStore:
    """Blocks; threads and processes may share it. Every method raises StoreUnavailable where the database fails.

    An ``owner`` of None stands for all owners.
    """

    def __init__(self, engine: Engine, *, now: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._now = now

    def add(self, job: Job, *, request_hash: str, place: str | None) -> tuple[Job, str]:
        """Accept a job, unless its owner has used its idempotency key before.

        ``place`` is where its audio lies; None where any runner can fetch it. Returns the job that is there now, and
        the hash of the request that it was accepted with. Durable when it returns.
        """
        values = job_values(job) | {
            "request_hash": request_hash,
            "place": place,
            "next_at": job.created_at,
            "has_begun": False,
        }
        with translate_errors():
            try:
                with writing(self._engine).begin() as connection:
                    connection.execute(insert(jobs).values(values))
            except IntegrityError:
                with self._engine.connect() as connection:
                    query = select(jobs).where(_with_key(job.owner, job.idempotency_key))
                    row = connection.execute(query).one_or_none()
                if row is None:
                    raise
                return read_job(row), row.request_hash
        return job, request_hash

    def get(self, job_id: str, *, owner: str | None) -> Job | None:
        """The job, if the owner has it."""
        with translate_errors(), self._engine.connect() as connection:
            row = connection.execute(select(jobs).where(_own(job_id, owner))).one_or_none()
        return None if row is None else read_job(row)

    def find_by_key(self, idempotency_key: str, *, owner: str) -> Job | None:
        """The job that the owner's idempotency key has made."""
        with translate_errors(), self._engine.connect() as connection:
            row = connection.execute(select(jobs).where(_with_key(owner, plain(idempotency_key)))).one_or_none()
        return None if row is None else read_job(row)

    def release_key(self, job_id: str) -> None:
        """The job's idempotency key can be used for another job."""
        with translate_errors(), writing(self._engine).begin() as connection:
            connection.execute(update(jobs).where(jobs.c.id == job_id).values(idempotency_key=None))

    def queued_by_owner(self) -> dict[str, int]:
        """How many jobs of each owner wait."""
        query = select(jobs.c.owner, func.count()).where(jobs.c.status == "queued").group_by(jobs.c.owner)
        with translate_errors(), self._engine.connect() as connection:
            return dict(connection.execute(query).all())

    def page(
        self, *, owner: str | None, status: Collection[JobStatus], model: str | None, limit: int, after: str | None
    ) -> list[Job]:
        """The newest jobs first, from the one behind ``after`` on; an empty ``status`` and None are no filters."""
        query = select(jobs).order_by(jobs.c.id.desc()).limit(limit)
        if owner is not None:
            query = query.where(jobs.c.owner == owner)
        if status:
            query = query.where(jobs.c.status.in_(status))
        if model is not None:
            query = query.where(jobs.c.model == plain(model))
        if after is not None:
            query = query.where(jobs.c.id < after)
        with translate_errors(), self._engine.connect() as connection:
            return [read_job(row) for row in connection.execute(query)]

    def backlog(self, job: Job) -> Backlog:
        """What goes before a queued job."""
        earlier = and_(
            jobs.c.status == "queued",
            or_(
                jobs.c.priority < int(job.priority),
                and_(jobs.c.priority == int(job.priority), jobs.c.id < job.id),
            ),
        )
        left_s = func.coalesce(func.sum(jobs.c.audio_s * (1 - jobs.c.progress)), 0.0)
        query = select(func.count(), func.count(jobs.c.audio_s), left_s)
        with translate_errors(), self._engine.connect() as connection:
            waiting, known, waiting_s = connection.execute(query.where(earlier)).one()
            running, known_too, running_s = connection.execute(query.where(jobs.c.status == "running")).one()
        unknown = waiting + running - known - known_too
        return Backlog(jobs=waiting, audio_s=waiting_s + running_s, unknown=unknown)

    def counts(self) -> dict[str, int]:
        """How many jobs there are, by status."""
        query = select(jobs.c.status, func.count()).group_by(jobs.c.status)
        with translate_errors(), self._engine.connect() as connection:
            return dict(connection.execute(query).all())

    def result(self, job_id: str) -> Transcript | None:
        """The transcript of a job; None where there is none, or one in a shape of another version."""
        query = select(job_results.c.body).where(
            job_results.c.job_id == job_id, job_results.c.version == RESULT_VERSION
        )
        with translate_errors(), self._engine.connect() as connection:
            body = connection.execute(query).scalar()
        try:
            return None if body is None else _TRANSCRIPT.validate_json(zlib.decompress(body))
        except (zlib.error, ValidationError):
            return None

    def expire(self, job_id: str, at: datetime) -> None:
        """Have the job forgotten at this time, or earlier where that was to be."""
        sooner = (jobs.c.id == job_id) & (jobs.c.expires_at > at)
        with translate_errors(), writing(self._engine).begin() as connection:
            connection.execute(update(jobs).where(sooner).values(expires_at=at))

    def delete(self, job_id: str) -> None:
        """Forget the job with all that belongs to it."""
        with translate_errors(), writing(self._engine).begin() as connection:
            connection.execute(delete(jobs).where(jobs.c.id == job_id))
            delete_deliveries(connection, [job_id])

    def purge(self) -> None:
        """Forget the jobs whose time is over; those whose webhooks are still to be delivered stay."""
        is_due = and_(
            jobs.c.expires_at <= self._now(),
            jobs.c.id.not_in(select(deliveries.c.job_id).where(deliveries.c.status == "pending")),
        )
        with translate_errors():
            with self._engine.connect() as connection:
                ids = list(connection.execute(select(jobs.c.id).where(is_due)).scalars())
            for first in range(0, len(ids), _IDS_AT_ONCE):
                some = ids[first : first + _IDS_AT_ONCE]
                with writing(self._engine).begin() as connection:
                    connection.execute(delete(jobs).where(jobs.c.id.in_(some)))
                    delete_deliveries(connection, some)

    def need_audio(self, ids: Collection[str], *, ended_after: datetime) -> dict[str, bool]:
        """Whether the jobs that there are need their audio: they have not ended, or only later than ``ended_after``."""
        found: dict[str, bool] = {}
        needed = or_(jobs.c.status.not_in(FINAL), jobs.c.ended_at > ended_after)
        wanted = list(ids)
        with translate_errors(), self._engine.connect() as connection:
            for first in range(0, len(wanted), _IDS_AT_ONCE):
                some = jobs.c.id.in_(wanted[first : first + _IDS_AT_ONCE])
                rows = connection.execute(select(jobs.c.id, needed).where(some))
                found |= {job_id: bool(is_needed) for job_id, is_needed in rows}
        return found

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()


def pack_result(transcript: Transcript) -> bytes:
    """The transcript as it is kept."""
    return zlib.compress(_TRANSCRIPT.dump_json(transcript))


def _with_key(owner: str, idempotency_key: str | None) -> ColumnElement[bool]:
    return (jobs.c.owner == owner) & (jobs.c.idempotency_key == idempotency_key)


def _own(job_id: str, owner: str | None) -> ColumnElement[bool]:
    return (jobs.c.id == job_id) if owner is None else (jobs.c.id == job_id) & (jobs.c.owner == owner)
