"""The words of jobs: what is asked for, and what is known of it. Times are aware."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from auricle.types import Priority, TranscribeOptions

JobStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]

FINAL: frozenset[JobStatus] = frozenset(("succeeded", "failed", "cancelled"))
"""A job with such a status never changes again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSource:
    """Where the audio of a job comes from; ``path`` is absolute before the job is accepted, later a name in the
    folder of jobs."""

    kind: Literal["file", "url"]
    name: str | None = None
    """As the client calls it."""
    path: str | None = None
    """None where a URL has not been fetched yet."""
    url: str | None = None
    size: int | None = None
    sha256: str | None = None
    """Of the audio's bytes, in hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTarget:
    """Who is told when a job ends, and in which shape."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    secret: str | None = field(default=None, repr=False)
    """Signs the message; None leaves it unsigned."""
    style: Literal["standard", "insanely-fast"] = "standard"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """What a client asks for. A file source is taken over when the job is accepted; the client's file stays."""

    source: JobSource
    options: TranscribeOptions
    model: str | None = None
    priority: Priority = Priority.BATCH
    webhook: WebhookTarget | None = None
    metadata: Mapping[str, object] | None = None
    """Given back with the job; never looked at."""
    idempotency_key: str | None = None
    audio_s: float | None = None
    """What the file says of its length, where somebody has looked already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is known of a job."""

    id: str
    """UUIDv7: later jobs have greater ids."""
    owner: str
    """Id of the key that it belongs to; empty where the server has no keys."""
    status: JobStatus
    options: TranscribeOptions
    source: JobSource
    created_at: datetime
    model: str | None = None
    priority: Priority = Priority.BATCH
    webhook: WebhookTarget | None = None
    metadata: Mapping[str, object] | None = None
    idempotency_key: str | None = None
    attempts: int = 0
    """Runs so far, those included that a restart broke off."""
    failures: int = 0
    """Runs in a row that failed without progress, in a way that may pass."""
    crashes: int = 0
    """Those of them whose engine, or the server itself, died."""
    progress: float = 0.0
    """Part of the audio that is done, 0 … 1."""
    audio_s: float | None = None
    started_at: datetime | None = None
    """When the first run began."""
    ended_at: datetime | None = None
    expires_at: datetime | None = None
    """When the job and its result are forgotten."""
    error_code: str | None = None
    error_message: str | None = None
    result_size: int | None = None
    """Bytes of the result as it is kept."""

    @property
    def is_final(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.status in FINAL
