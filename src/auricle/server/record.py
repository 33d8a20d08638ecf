"""What is known of a request, for its log line."""

import time
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """What is told of a request in the log; routes fill in what they learn. Never audio, text or keys."""

    request_id: str
    started: float = field(default_factory=time.perf_counter)
    status: int = 0
    audio_s: float | None = None
    error: str | None = None
    """Code of the error, also of one that came after the answer had begun."""


def record_of(connection: HTTPConnection) -> RequestRecord:
    """The record of the request at hand."""
    return connection.scope["auricle.record"]
