"""How urgent a request is, how long its audio, and how long it may take."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import Request

from auricle.audio.decode import probe_audio
from auricle.config import Settings
from auricle.errors import AuricleError, InvalidOption
from auricle.server.admission import Place
from auricle.server.record import record_of
from auricle.server.schemas import AudioForm
from auricle.server.uploads import Form
from auricle.types import Priority, RequestInfo

_HEADERS = {"x-auricle-priority": "priority", "x-auricle-deadline": "deadline_s"}
"""Headers that are as good as a field of the form."""
_BYTES_PER_S = 4000
"""Of speech in a browser's recording, which names no length; a guess that is rather too long than too short."""

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


def header_fields(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Headers as fields of the form; one that contradicts a field is an error there."""
    return ((field, headers[header]) for header, field in _HEADERS.items() if header in headers)


async def request_info(
    request: Request, settings: Settings, upload: Form, form: AudioForm, place: Place
) -> RequestInfo:
    """What the pipeline needs to know of the request. Raises InvalidOption for a class that is not allowed."""
    record = record_of(request)
    audio_s = await asyncio.to_thread(_probe, upload, settings.max_audio_s)
    place.expect(audio_s)
    return RequestInfo(
        request_id=record.request_id,
        caller=request.client.host if request.client else "local",
        priority=_priority(form, settings),
        deadline=_deadline(form, settings, audio_s, arrived_s=time.perf_counter() - record.started),
        audio_s=audio_s,
        on_start=place.begin,
        on_progress=place.advance,
        on_stage=record.add_stage if settings.tracing else None,
    )


def _probe(upload: Form, max_audio_s: float) -> float:
    """Seconds of audio by what the file says, else by its size; whoever decodes it finds out what is wrong with it."""
    try:
        audio_s = probe_audio(upload.path).duration_s
    except AuricleError:
        audio_s = None
    return min(upload.size / _BYTES_PER_S if audio_s is None else max(audio_s, 0.0), max_audio_s)


def _priority(form: AudioForm, settings: Settings) -> Priority:
    if form.priority == "realtime" and not settings.allow_realtime and settings.default_priority != "realtime":
        raise InvalidOption(
            "priority: this server takes 'interactive' and 'batch' only; 'realtime' needs AURICLE_ALLOW_REALTIME=true.",
            param="priority",
        )
    return Priority[(form.priority or settings.default_priority).upper()]


def _deadline(form: AudioForm, settings: Settings, audio_s: float, *, arrived_s: float) -> float | None:
    """On the monotonic clock. The client's time runs from the request's arrival ``arrived_s`` ago, the server's from
    now, when the upload is there."""
    allowed_s = settings.request_timeout_s + settings.request_timeout_per_audio_s * audio_s
    limits = [allowed_s] if allowed_s > 0 else []
    if form.deadline_s is not None:
        limits.append(form.deadline_s - arrived_s)
    return time.monotonic() + min(limits) if limits else None
