"""What is told of a job's end to the webhook that it was given."""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from auricle.formats.chunks_json import chunks_output
from auricle.job_types import Job
from auricle.types import Transcript

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from auricle.store.job_runs import Announce


TASK_ID = "task_id"
"""In the metadata of a job: what its client calls it, where that is not its id."""


def announce(transcript: Transcript | None) -> "Announce":
    """Adds the message of a job that has a webhook, within the transaction that ends it."""

    def add(connection: "Connection", job: Job) -> None:
        from auricle.store.deliveries import add_delivery  # noqa: PLC0415  SQLAlchemy is there by now

        if job.webhook is None or job.ended_at is None:
            return
        add_delivery(
            connection,
            job_id=job.id,
            owner=job.owner,
            url=job.webhook.url,
            headers=job.webhook.headers,
            secret=job.webhook.secret,
            body=message_body(job, transcript),
            now=job.ended_at,
        )

    return add


def message_body(job: Job, transcript: Transcript | None) -> bytes:
    """The message as it is sent, in the shape that the job asked for."""
    style = "standard" if job.webhook is None else job.webhook.style
    message = _standard(job, transcript) if style == "standard" else _insanely_fast(job, transcript)
    return json.dumps(message).encode()


def task_id_of(job: Job) -> str:
    """What clients of "Insanely Fast Whisper API" call the job."""
    named = (job.metadata or {}).get(TASK_ID)
    return named if isinstance(named, str) else job.id


def _standard(job: Job, transcript: Transcript | None) -> dict[str, Any]:
    """Type, time and data, as Standard Webhooks has them."""
    result = None
    if transcript is not None:
        result = {"text": transcript.text, "language": transcript.language, "duration": transcript.duration}
    failed = job.status == "failed"
    return {
        "type": f"job.{job.status}",
        "timestamp": _time(job.ended_at),
        "data": {
            "id": job.id,
            "status": job.status,
            "model": job.model,
            "metadata": job.metadata,
            "created_at": _time(job.created_at),
            "ended_at": _time(job.ended_at),
            "error": {"code": job.error_code, "message": job.error_message} if failed else None,
            "result": result,
        },
    }


def _insanely_fast(job: Job, transcript: Transcript | None) -> dict[str, Any]:
    task_id = task_id_of(job)
    if transcript is not None:
        return {"output": chunks_output(transcript), "status": "completed", "task_id": task_id}
    error = job.error_message if job.status == "failed" else "The task was cancelled."
    return {"error": error, "status": "error", "task_id": task_id}


def _time(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")
