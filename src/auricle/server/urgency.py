"""How urgent a request is, how long its audio, and how long it may take."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from fastapi import Request

from auricle.audio.decode import probe_audio
from auricle.config import Settings
from auricle.errors import AuricleError
from auricle.server.admission import Place
from auricle.server.auth import Principal, choose_priority, principal_of, quota_of
from auricle.server.record import record_of
from auricle.server.schemas import PriorityName
from auricle.server.uploads import AudioSource
from auricle.types import Priority, RequestInfo
from auricle.units import GUESSED_BYTES_PER_S

_HEADERS = {"x-auricle-priority": "priority", "x-auricle-deadline": "deadline_s"}
"""Headers that are as good as a field of the form."""

HEADER_PARAMETERS: list[dict[str, Any]] = [
    {
        "name": header,
        "in": "header",
        "required": False,
        "description": f"As the field `{field}`.",
        "schema": {"type": "string"},
    }
    for header, field in {"X-Auricle-Priority": "priority", "X-Auricle-Deadline": "deadline_s"}.items()
]
"""For OpenAPI."""


class Wish(Protocol):
    """What a request says of its urgency."""

    @property
    def priority(self) -> PriorityName | None: ...
    @property
    def deadline_s(self) -> float | None: ...


def header_fields(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Headers as fields of the form; one that contradicts a field is an error there."""
    return ((field, headers[header]) for header, field in _HEADERS.items() if header in headers)


async def request_info(
    request: Request, settings: Settings, audio: AudioSource, wish: Wish, place: Place
) -> RequestInfo:
    """What the pipeline needs to know of the request. Raises InvalidOption for a class that is not allowed.

    Its work takes from the key's quota when it begins, as it does from the place; a result that is there takes nothing.
    """
    record, caller, quota = record_of(request), principal_of(request), quota_of(request)
    told_s = await asyncio.to_thread(_probe, audio)
    audio_s = min(audio.size / GUESSED_BYTES_PER_S if told_s is None else told_s, settings.max_audio_s)
    place.expect(audio_s)

    def begin() -> None:
        place.begin()
        quota.take_audio(audio_s, is_guess=told_s is None)

    def advance(done_s: float) -> None:
        place.advance(done_s)
        quota.note_done(done_s)

    return RequestInfo(
        request_id=record.request_id,
        caller=caller.owner or (request.client.host if request.client else "local"),
        priority=_priority(wish, settings, caller),
        deadline=_deadline(wish, settings, audio_s, arrived_s=time.perf_counter() - record.started),
        audio_s=audio_s,
        on_start=begin,
        on_progress=advance,
        on_stage=record.add_stage if settings.tracing else None,
    )


def _probe(audio: AudioSource) -> float | None:
    """Seconds of audio by what the file says, None where it says nothing; whoever decodes it finds out what is wrong
    with it."""
    try:
        told_s = probe_audio(audio.path).duration_s
    except AuricleError:
        return None
    return None if told_s is None else max(told_s, 0.0)


def _priority(wish: Wish, settings: Settings, caller: Principal) -> Priority:
    return choose_priority(
        caller,
        Priority[wish.priority.upper()] if wish.priority else None,
        default=Priority[settings.default_priority.upper()],
        allow_realtime=settings.allow_realtime,
    )


def _deadline(wish: Wish, settings: Settings, audio_s: float, *, arrived_s: float) -> float | None:
    """On the monotonic clock. The client's time runs from the request's arrival ``arrived_s`` ago, the server's from
    now, when the upload is there."""
    allowed_s = settings.request_timeout_s + settings.request_timeout_per_audio_s * audio_s
    limits = [allowed_s] if allowed_s > 0 else []
    if wish.deadline_s is not None:
        limits.append(wish.deadline_s - arrived_s)
    return time.monotonic() + min(limits) if limits else None
