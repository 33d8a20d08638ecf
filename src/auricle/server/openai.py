"""``/v1/audio``: transcription and translation as OpenAI's API has them."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from auricle.formats.registry import SPEAKERS_FORMAT, render
from auricle.server.admission import Place
from auricle.server.compat.base64_audio import JSON_SCHEMA
from auricle.server.context import Admitted, Context, RequestContext
from auricle.server.envelopes import ErrorEnvelope
from auricle.server.events import transcript_events
from auricle.server.job_orders import accept_upload
from auricle.server.jobs import ACCEPTED, accepted_headers, show
from auricle.server.receive import FileForm
from auricle.server.schemas import TEXT_SCHEMA, form_schema, format_options
from auricle.server.sse import stream_events
from auricle.server.uploads import Form
from auricle.server.urgency import HEADER_PARAMETERS
from auricle.server.work import read_order, run_order, stream_order, warning_header
from auricle.types import Task

router = APIRouter(prefix="/v1/audio", tags=["audio"])

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
        "application/json": {"schema": TEXT_SCHEMA, "example": _EXAMPLE},
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
    **ACCEPTED,
    **{status: {"description": reason, "model": ErrorEnvelope} for status, reason in _FAILURES.items()},
}
_PREFER: dict[str, Any] = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`respond-async`: do not wait; answer 202 with a job, to be fetched from `/v1/jobs/{id}/result`.",
    "schema": {"type": "string"},
}
_FORM: dict[str, Any] = {"requestBody": form_schema(), "parameters": [*HEADER_PARAMETERS, _PREFER]}
# Requests with a JSON body go to another route, which the schema cannot show beside this one.
_FORM_OR_JSON: dict[str, Any] = _FORM | {
    "requestBody": {"required": True, "content": form_schema()["content"] | JSON_SCHEMA["content"]}
}


@router.post("/transcriptions", summary="Transcribe audio", responses=_RESPONSES, openapi_extra=_FORM_OR_JSON)
async def create_transcription(
    request: Request, context: RequestContext, place: Admitted, upload: FileForm
) -> Response:
    """The text of the audio in its own language."""
    return await _answer(request, context, place, upload, "transcribe")


@router.post("/translations", summary="Translate audio into English", responses=_RESPONSES, openapi_extra=_FORM)
async def create_translation(request: Request, context: RequestContext, place: Admitted, upload: FileForm) -> Response:
    """The text of the audio in English; models that cannot translate are refused with 400."""
    return await _answer(request, context, place, upload, "translate")


async def _answer(request: Request, context: Context, place: Place, upload: Form, task: Task) -> Response:
    form, order, warnings = read_order(request, context.settings, upload.fields, task)
    # Who wants events wants to wait: a preference need not be followed.
    if not form.stream and _prefers_job(request):
        return await _answer_with_job(request, context, upload, task)
    shape = format_options(form)
    if form.stream:
        parts = await stream_order(request, context, place, upload, order)
        return await stream_events(
            request,
            transcript_events(parts, logprobs=shape.logprobs, speakers=form.response_format == SPEAKERS_FORMAT),
            keepalive_s=context.settings.sse_keepalive_s,
            headers=warning_header(warnings),
        )
    transcript = await run_order(request, context, place, upload, order)
    body = render(transcript, form.response_format, shape)
    headers = warning_header([*warnings, *transcript.warnings])
    return Response(body.text, media_type=body.media_type, headers=headers)


async def _answer_with_job(request: Request, context: Context, upload: Form, task: Task) -> Response:
    accepted = await accept_upload(request, context, upload, task)
    headers = accepted_headers(accepted) | {"preference-applied": "respond-async"}
    body = await show(context, accepted.job)
    return JSONResponse(body.model_dump(mode="json"), 202, headers)


def _prefers_job(request: Request) -> bool:
    """As RFC 7240 has it."""
    wishes = ",".join(request.headers.getlist("prefer")).split(",")
    return any(wish.partition(";")[0].strip().lower() == "respond-async" for wish in wishes)
