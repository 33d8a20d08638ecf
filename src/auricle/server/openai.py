"""``/v1/audio``: transcription and translation as OpenAI's API has them."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from auricle.formats.registry import render
from auricle.server.admission import Place
from auricle.server.context import Admitted, Context, RequestContext
from auricle.server.errors import ErrorEnvelope
from auricle.server.events import transcript_events
from auricle.server.record import record_of
from auricle.server.reuse import reuse_of
from auricle.server.schemas import form_schema, format_options, parse_form, transcribe_options
from auricle.server.sse import stream_events
from auricle.server.uploads import Form, read_form
from auricle.server.urgency import HEADER_PARAMETERS, header_fields, request_info
from auricle.server.waiting import before, unless_client_leaves
from auricle.types import Task

router = APIRouter(prefix="/v1/audio", tags=["audio"])

_MAX_WARNINGS = 8
_EXAMPLE = {
    "text": "Turn left at the hospital.",
    "languages": [{"code": "en"}],
    "usage": {"type": "duration", "seconds": 2},
}
_SUCCESS: dict[str, Any] = {
    "description": "The transcript in the format asked for. `X-Auricle-Warnings` holds a JSON list of what was "
    "ignored, where anything was. `X-Auricle-Cache` says where it is from: decoded for this request (`miss`), or for "
    "another one that still ran (`joined`), or kept from an earlier one (`hit`). `Cache-Control: no-cache` has the "
    "audio decoded again, `no-store` also keeps no result.",
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
    408: "The body arrives too slowly",
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
_FORM = {"requestBody": form_schema(), "parameters": HEADER_PARAMETERS}


async def _upload(request: Request, context: RequestContext, _place: Admitted) -> AsyncIterator[Form]:
    """The form of a request that has a place; its file is removed when the answer is sent or the request has failed."""
    async with read_form(
        request,
        folder=context.uploads,
        max_bytes=context.max_upload_bytes,
        min_bytes_s=context.settings.min_upload_kb_s * 1024,
    ) as form:
        record_of(request).file_bytes = form.size
        record_of(request).audio_hash = form.sha256
        yield form


Upload = Annotated[Form, Depends(_upload)]


@router.post("/transcriptions", summary="Transcribe audio", responses=_RESPONSES, openapi_extra=_FORM)
async def create_transcription(request: Request, context: RequestContext, place: Admitted, upload: Upload) -> Response:
    """The text of the audio in its own language."""
    return await _answer(request, context, place, upload, "transcribe")


@router.post("/translations", summary="Translate audio into English", responses=_RESPONSES, openapi_extra=_FORM)
async def create_translation(request: Request, context: RequestContext, place: Admitted, upload: Upload) -> Response:
    """The text of the audio in English; models that cannot translate are refused with 400."""
    return await _answer(request, context, place, upload, "translate")


async def _answer(request: Request, context: Context, place: Place, upload: Form, task: Task) -> Response:
    form, unknown = parse_form((*upload.fields, *header_fields(request.headers)))
    record_of(request).model = form.model
    options = transcribe_options(form, task, context.settings)
    shape = format_options(form)
    info = await request_info(request, context.settings, upload, form, place)
    transcriber = context.runtime.transcriber
    warnings = [f"field {name[:40]!r} is not known and was ignored" for name in unknown]
    reuse = reuse_of(request, upload)
    if form.stream:
        parts = transcriber.stream(upload.path, options, model=form.model, request=info, reuse=reuse)
        return await stream_events(
            request,
            transcript_events(parts, record_of(request), logprobs=shape.logprobs, deadline=info.deadline),
            keepalive_s=context.settings.sse_keepalive_s,
            headers=_warning_header(warnings),
        )
    run = transcriber.run(upload.path, options, model=form.model, request=info, reuse=reuse)
    transcript = await unless_client_leaves(request.receive, before(info.deadline, run))
    record_of(request).finish(transcript)
    body = render(transcript, form.response_format, shape)
    headers = _warning_header([*warnings, *transcript.warnings])
    return Response(body.text, media_type=body.media_type, headers=headers)


def _warning_header(warnings: Sequence[str]) -> dict[str, str]:
    """As JSON, which is ASCII on one line whatever the warnings hold."""
    return {"x-auricle-warnings": json.dumps(warnings[:_MAX_WARNINGS])} if warnings else {}
