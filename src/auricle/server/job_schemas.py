"""What is told of jobs over HTTP."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from auricle.job_types import Job, JobStatus
from auricle.net.urls import shown_url
from auricle.server.envelopes import ErrorBody
from auricle.server.schemas import PriorityName
from auricle.types import Task

if TYPE_CHECKING:
    from auricle.store.deliveries import Delivery  # SQLAlchemy takes a third of a second to import


class JobFailure(BaseModel):
    """Why a job failed."""

    code: str
    message: str


class JobAudio(BaseModel):
    """Where a job's audio is from."""

    kind: Literal["file", "url"]
    name: str | None
    url: str | None = Field(description="Without credentials and query.")
    size: int | None = Field(description="Bytes, where they are known.")


class JobWebhook(BaseModel):
    """Who is told of a job's end; headers and secret are not repeated."""

    url: str = Field(description="Without credentials and query.")
    is_signed: bool = Field(description="Whether the job has a secret of its own.")


class JobObject(BaseModel):
    """A job."""

    id: str
    object: Literal["job"] = "job"
    status: JobStatus
    progress: float = Field(description="Part of the audio that is done, 0 to 1.")
    position: int | None = Field(
        description="Place in the queue from 1 on, 0 while it runs; null after its end, and in lists."
    )
    eta_s: float | None = Field(
        description="Seconds until the end at the speed of late; null where that is not known, and in lists."
    )
    task: Task
    model: str | None = Field(description="As it was asked for; null is the server's default.")
    language: str | None = Field(description="As it was asked for; null is to be detected.")
    priority: PriorityName
    source: JobAudio
    audio_s: float | None = Field(description="Seconds of audio by what the file says, where it says something.")
    webhook: JobWebhook | None
    metadata: dict[str, Any] | None
    idempotency_key: str | None
    attempts: int = Field(description="Runs so far, those included that a restart broke off.")
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime | None = Field(description="When the job and its result are forgotten.")
    error: JobFailure | None
    error_code: str | None = Field(description="The error's code again.")


class JobList(BaseModel):
    """Newest first."""

    object: Literal["list"] = "list"
    data: list[JobObject]
    has_more: bool
    last_id: str | None = Field(description="To be given as `after` for the next page.")


class JobDeleted(BaseModel):
    """The job and all that belonged to it are gone."""

    id: str
    object: Literal["job"] = "job"
    deleted: Literal[True] = True


class BatchItem(BaseModel):
    """What became of one job of a batch."""

    status: int = Field(description="The HTTP status that the job would have had alone.")
    job: JobObject | None = None
    error: ErrorBody | None = None


class Batch(BaseModel):
    """An answer for each job, in the order of the request."""

    object: Literal["list"] = "list"
    data: list[BatchItem]


class DeliveryObject(BaseModel):
    """A webhook message, and what became of it."""

    id: str = Field(description="The header `webhook-id` of the message.")
    object: Literal["job.delivery"] = "job.delivery"
    job_id: str
    url: str = Field(description="Without credentials and query.")
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    next_at: datetime | None = Field(description="When it is tried next; null where it is not.")
    last_status: int | None = Field(description="HTTP status of the last answer.")
    last_error: str | None
    created_at: datetime
    delivered_at: datetime | None


class DeliveryList(BaseModel):
    """Oldest first."""

    object: Literal["list"] = "list"
    data: list[DeliveryObject]


def job_object(job: Job, *, position: int | None = None, eta_s: float | None = None) -> JobObject:
    """The job as its owner may see it."""
    source, webhook = job.source, job.webhook
    error = None
    if job.status == "failed":
        error = JobFailure(code=job.error_code or "job_error", message=job.error_message or "The job failed.")
    return JobObject(
        id=job.id,
        status=job.status,
        progress=round(job.progress, 4),
        position=position,
        eta_s=None if eta_s is None else round(eta_s, 1),
        task=job.options.task,
        model=job.model,
        language=job.options.language,
        priority=_priority(job),
        source=JobAudio(
            kind=source.kind,
            name=source.name,
            url=None if source.url is None else shown_url(source.url),
            size=source.size,
        ),
        audio_s=job.audio_s,
        webhook=None
        if webhook is None
        else JobWebhook(url=shown_url(webhook.url), is_signed=webhook.secret is not None),
        metadata=None if job.metadata is None else dict(job.metadata),
        idempotency_key=job.idempotency_key,
        attempts=job.attempts,
        created_at=job.created_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
        expires_at=job.expires_at,
        error=error,
        error_code=None if error is None else error.code,
    )


def delivery_object(delivery: "Delivery") -> DeliveryObject:
    """The message as its owner may see it."""
    return DeliveryObject(
        id=delivery.id,
        job_id=delivery.job_id,
        url=shown_url(delivery.url),
        status=delivery.status,
        attempts=delivery.attempts,
        next_at=delivery.next_at if delivery.status == "pending" else None,
        last_status=delivery.last_status,
        last_error=delivery.last_error,
        created_at=delivery.created_at,
        delivered_at=delivery.delivered_at,
    )


_PRIORITIES: tuple[PriorityName, ...] = ("realtime", "interactive", "batch")


def _priority(job: Job) -> PriorityName:
    return _PRIORITIES[job.priority]
