"""``/v1/audio``: transcription and translation as OpenAI's API has them."""

import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from auricle.formats.registry import render
from auricle.server.context import Context, RequestContext
from auricle.server.errors import ErrorEnvelope
from auricle.server.events import transcript_events
from auricle.server.record import record_of
from auricle.server.schemas import form_schema, format_options, parse_form, transcribe_options
from auricle.server.sse import stream_events
from auricle.server.uploads import Form, read_form
from auricle.server.waiting import before, unless_client_leaves
from auricle.types import RequestInfo, Task

router = APIRouter(prefix="/v1/audio", tags=["audio"])

_MAX_WARNINGS = 8
_EXAMPLE = {
    "text": "Turn left at the hospital.",
    "languages": [{"code": "en"}],
    "usage": {"type": "duration", "seconds": 2},
}
_SUCCESS: dict[str, Any] = {
    "description": "The transcript in the format asked for. `X-Auricle-Warnings` holds a JSON list of what was "
    "ignored, where anything was.",
    "content": {
        "application/json": {"example": _EXAMPLE},
        "text/plain": {"example": "Turn left at the hospital.\n"},
        "application/x-subrip": {"example": "1\n00:00:00,000 --> 00:00:01,600\nTurn left at the hospital.\n"},
        "text/vtt": {"example": "WEBVTT\n\n00:00.000 --> 00:01.600\nTurn left at the hospital.\n"},
        "text/event-stream": {
            "example": 'data: {"type": "transcript.text.delta", "delta": "Turn left"}\n\ndata: [DONE]\n\n'
        },
    },
}
_FAILURES = {
    400: "A field's value is wrong, or the audio is broken",
    404: "No such model",
    413: "The file is too large or too long",
    415: "The file is not audio",
    429: "Too many requests; see Retry-After",
    503: "Not ready or short of memory; see Retry-After",
    504: "Not done in time",
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: _SUCCESS,
    **{status: {"description": reason, "model": ErrorEnvelope} for status, reason in _FAILURES.items()},
}
_FORM = {"requestBody": form_schema()}


async def _upload(request: Request, context: RequestContext) -> AsyncIterator[Form]:
    """The form of the request; its file is removed when the answer is sent or the request has failed."""
    with context.admit():
        async with read_form(request, folder=context.uploads, max_bytes=context.max_upload_bytes) as form:
            yield form


Upload = Annotated[Form, Depends(_upload)]


@router.post("/transcriptions", summary="Transcribe audio", responses=_RESPONSES, openapi_extra=_FORM)
async def create_transcription(request: Request, context: RequestContext, upload: Upload) -> Response:
    """The text of the audio in its own language."""
    return await _answer(request, context, upload, "transcribe")


@router.post("/translations", summary="Translate audio into English", responses=_RESPONSES, openapi_extra=_FORM)
async def create_translation(request: Request, context: RequestContext, upload: Upload) -> Response:
    """The text of the audio in English; models that cannot translate are refused with 400."""
    return await _answer(request, context, upload, "translate")


async def _answer(request: Request, context: Context, upload: Form, task: Task) -> Response:
    form, unknown = parse_form(upload.fields)
    options = transcribe_options(form, task, context.settings)
    shape = format_options(form)
    info = _request_info(request, context)
    transcriber = context.runtime.transcriber
    warnings = [f"field {name[:40]!r} is not known and was ignored" for name in unknown]
    if form.stream:
        parts = transcriber.stream(upload.path, options, model=form.model, request=info)
        return await stream_events(
            request,
            transcript_events(parts, record_of(request), logprobs=shape.logprobs, deadline=info.deadline),
            keepalive_s=context.settings.sse_keepalive_s,
            headers=_warning_header(warnings),
        )
    run = transcriber.run(upload.path, options, model=form.model, request=info)
    transcript = await unless_client_leaves(request.receive, before(info.deadline, run))
    record_of(request).audio_s = transcript.duration
    body = render(transcript, form.response_format, shape)
    headers = _warning_header([*warnings, *transcript.warnings])
    return Response(body.text, media_type=body.media_type, headers=headers)


def _request_info(request: Request, context: Context) -> RequestInfo:
    timeout_s = context.settings.request_timeout_s
    return RequestInfo(
        request_id=record_of(request).request_id,
        caller=request.client.host if request.client else "local",
        deadline=time.monotonic() + timeout_s if timeout_s else None,
    )


def _warning_header(warnings: Sequence[str]) -> dict[str, str]:
    """As JSON, which is ASCII on one line whatever the warnings hold."""
    return {"x-auricle-warnings": json.dumps(warnings[:_MAX_WARNINGS])} if warnings else {}
