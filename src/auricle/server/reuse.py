"""What a request's headers say about the reuse of its result."""

from fastapi import Request

from auricle.reuse.request import Outcome, Policy, Reuse
from auricle.server.auth import principal_of
from auricle.server.record import record_of
from auricle.server.uploads import AudioSource


def reuse_of(request: Request, audio: AudioSource) -> Reuse:
    """How the audio's transcript may be shared; where it came from is noted in the request's record."""
    record = record_of(request)

    def note(outcome: Outcome) -> None:
        record.cache = outcome

    return Reuse(
        sha256=audio.sha256,
        policy=_policy(request.headers.getlist("cache-control")),
        scope=principal_of(request).owner,
        keep=audio.keep,
        report=note,
    )


def _policy(headers: list[str]) -> Policy:
    directives = {directive.strip().lower() for header in headers for directive in header.split(",")}
    if "no-store" in directives:
        return "private"
    return "refresh" if "no-cache" in directives else "share"
