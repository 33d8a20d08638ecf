"""Jobs as rows and back."""

import json
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Row

from auricle.job_types import Job, JobSource, WebhookTarget
from auricle.types import Priority, TranscribeOptions

_OPTIONS = TypeAdapter(TranscribeOptions)
_SOURCE = TypeAdapter(JobSource)
_WEBHOOK = TypeAdapter(WebhookTarget)
_PLAIN = (
    "id",
    "owner",
    "status",
    "model",
    "idempotency_key",
    "attempts",
    "failures",
    "crashes",
    "progress",
    "audio_s",
    "created_at",
    "started_at",
    "ended_at",
    "expires_at",
    "error_code",
    "error_message",
    "result_size",
)
"""Fields of a job that are columns as they are."""


def job_values(job: Job) -> dict[str, Any]:
    """The columns that tell what the job is; those of its run are not among them."""
    values = {name: getattr(job, name) for name in _PLAIN}
    return {name: plain(value) if isinstance(value, str) else value for name, value in values.items()} | {
        "options": _dump(_OPTIONS, job.options),
        "source": dump_source(job.source),
        "priority": int(job.priority),
        "webhook": None if job.webhook is None else _dump(_WEBHOOK, job.webhook),
        "metadata": None if job.metadata is None else json.dumps(dict(job.metadata)),
    }


def read_job(row: Row[Any]) -> Job:
    """The job of a row that has all columns."""
    values: dict[str, Any] = row._asdict()  # pyright: ignore[reportPrivateUsage]
    return Job(
        **{name: values[name] for name in _PLAIN},
        options=_OPTIONS.validate_json(values["options"]),
        source=_SOURCE.validate_json(values["source"]),
        priority=Priority(values["priority"]),
        webhook=None if values["webhook"] is None else _WEBHOOK.validate_json(values["webhook"]),
        metadata=None if values["metadata"] is None else json.loads(values["metadata"]),
    )


def dump_source(source: JobSource) -> str:
    """The column ``source``."""
    return _dump(_SOURCE, source)


def plain(text: str) -> str:
    """Text that every database takes: PostgreSQL refuses NUL, and nothing stores half of a surrogate pair."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _dump(adapter: TypeAdapter[Any], value: object) -> str:
    return json.dumps(adapter.dump_python(value))
