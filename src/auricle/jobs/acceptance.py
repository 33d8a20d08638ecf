"""What of a request decides whether it becomes a job, and whether it is one already."""

import hashlib
import json
import re
from dataclasses import asdict

from auricle.errors import InvalidOption
from auricle.job_types import Job, NewJob

_KEY = re.compile(r"[\x20-\x7e]{1,255}")


def check_new(new: NewJob) -> None:
    """What cannot be kept must not be accepted. Raises InvalidOption."""
    if new.idempotency_key is not None and not _KEY.fullmatch(new.idempotency_key):
        raise InvalidOption(
            "The idempotency key must have 1 to 255 printable ASCII characters.", param="idempotency_key"
        )
    if new.webhook is not None and not (new.webhook.url.isascii() and new.webhook.url.isprintable()):
        raise InvalidOption("The webhook's URL has characters that no URL has.", param="webhook")


def request_hash(job: Job) -> str:
    """Of all that a client asks for; the same audio and the same options are the same request."""
    webhook = None if job.webhook is None else asdict(job.webhook)
    audio = job.source.url if job.source.url is not None else job.source.sha256
    asked = [audio, job.model, asdict(job.options), int(job.priority), webhook, dict(job.metadata or {})]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
