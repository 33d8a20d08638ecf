"""The API of "WhisperServer": options in the query, lines of JSON; its ``/status`` is that of the server."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from auricle.engines.weights import model_names
from auricle.pipeline.models import OPENAI_NAMES
from auricle.server.auth import Caller, may_use_model
from auricle.server.context import Admitted, RequestContext
from auricle.server.envelopes import error_example
from auricle.server.receive import FileForm, audio_form
from auricle.server.schemas import TEXT_SCHEMA
from auricle.server.sse import JSON_LINES, stream_events
from auricle.server.work import read_order, run_order, stream_order, warning_header
from auricle.types import ClipDone, Segment, Transcript, Word

router = APIRouter(tags=["audio"])
models_router = APIRouter(tags=["compatibility"])

_LINES = '{"segment": {"id": 0, "start": 0.0, "end": 1.6, "text": "Turn left."}}\n{"result": {"text": "Turn left."}}\n'
_SUCCESS: dict[str, Any] = {
    "description": "The text, and with `words` each word with its times. With `stream` a line for each segment as it "
    "is done, and a last one with the same object as `result`, or an `error`.",
    "content": {
        "application/json": {"schema": TEXT_SCHEMA, "example": {"text": "Turn left."}},
        "application/x-ndjson": {"example": _LINES},
    },
}


@router.post(
    "/transcribe",
    summary="Transcribe audio (WhisperServer)",
    openapi_extra=audio_form("file"),
    responses={200: _SUCCESS, **error_example("/transcribe")},
    response_class=Response,
)
async def transcribe_by_query(
    *,
    request: Request,
    context: RequestContext,
    place: Admitted,
    upload: FileForm,
    model: Annotated[str | None, Query(description="Name of a model, such as `base`.")] = None,
    language: Annotated[str | None, Query(description="Language of the audio.")] = None,
    beam_size: Annotated[int | None, Query(description="1 is greedy, faster.")] = None,
    temperature: Annotated[float | None, Query(description="0 to 1.")] = None,
    vad_filter: Annotated[bool | None, Query(description="Find speech first.")] = None,
    words: Annotated[bool, Query(description="Tell the time of each word.")] = False,
    stream: Annotated[bool, Query(description="Answer in lines of JSON.")] = False,
) -> Response:
    """The text; the fields of `/v1/audio/transcriptions` that shape it can be sent in the form too."""
    asked = {
        "model": model,
        "language": language,
        "beam_size": beam_size,
        "temperature": temperature,
        "vad": vad_filter,
    }
    given = [(name, str(value)) for name, value in asked.items() if value is not None]
    _, order, warnings = read_order(request, context.settings, (*upload.fields, *given), "transcribe")
    order = replace(order, options=replace(order.options, word_timestamps=words))
    if stream:
        parts = await stream_order(request, context, place, upload, order)
        return await stream_events(
            request,
            _lines(parts, words=words),
            keepalive_s=context.settings.sse_keepalive_s,
            headers=warning_header(warnings),
            framing=JSON_LINES,
        )
    transcript = await run_order(request, context, place, upload, order)
    return JSONResponse(_result(transcript, words=words), headers=warning_header([*warnings, *transcript.warnings]))


@models_router.get("/models", summary="Names of models (WhisperServer)")
async def list_model_names(context: RequestContext, caller: Caller) -> list[str]:
    """What a request may name: models that are on disk, and those that are fetched when somebody asks for them."""
    settings, models = context.settings, context.runtime.models
    known = [summary.id for summary in await models.listing() if summary.id not in OPENAI_NAMES]
    fetched = model_names() if settings.allow_downloads and settings.load_on_demand and not settings.offline else []
    return [name for name in dict.fromkeys([*fetched, *known]) if may_use_model(caller, models, name)]


async def _lines(
    parts: AsyncGenerator[ClipDone | Transcript, None], *, words: bool
) -> AsyncGenerator[dict[str, Any], None]:
    async with aclosing(parts):
        async for part in parts:
            if isinstance(part, Transcript):
                yield {"result": _result(part, words=words)}
            else:
                for segment in part.segments:
                    yield {"segment": _segment(segment)}


def _result(transcript: Transcript, *, words: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"text": transcript.text.strip()}
    return body | {"words": [_word(word) for word in transcript.words]} if words else body


def _segment(segment: Segment) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": segment.id,
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text.strip(),
    }
    return body if segment.words is None else body | {"words": [_word(word) for word in segment.words]}


def _word(word: Word) -> dict[str, Any]:
    return {
        "word": word.word.strip(),
        "start": round(word.start, 3),
        "end": round(word.end, 3),
        "probability": round(word.probability, 4),
    }
