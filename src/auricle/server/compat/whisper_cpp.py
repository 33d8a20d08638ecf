"""The API of whisper.cpp's server."""

import json
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response

from auricle.formats.openai_json import UNKNOWN_LANGUAGE, segment_object, word_object
from auricle.formats.registry import Body, render
from auricle.server.compat.whisper_cpp_form import FORM_SCHEMA, is_true, own_fields, temperatures
from auricle.server.context import Admitted, RequestContext
from auricle.server.envelopes import error_example
from auricle.server.receive import FileForm
from auricle.server.schemas import TEXT_SCHEMA, AudioForm, format_options
from auricle.server.work import read_order, run_order, warning_header
from auricle.tokenizer import LANGUAGES
from auricle.types import Segment, Transcript

router = APIRouter(tags=["audio"])


@router.post(
    "/inference",
    summary="Transcribe audio (whisper.cpp)",
    openapi_extra=FORM_SCHEMA,
    responses={
        200: {
            "description": "The transcript.",
            "content": {"application/json": {"schema": TEXT_SCHEMA}, "text/plain": {}},
        },
        **error_example("/inference"),
    },
    response_class=Response,
)
async def infer(request: Request, context: RequestContext, place: Admitted, upload: FileForm) -> Response:
    """The transcript in the format asked for; fields of whisper.cpp that mean nothing here are ignored."""
    given = {name: value.strip() for name, value in upload.fields}
    task = "translate" if is_true(given, "translate") else "transcribe"
    form, order, warnings = read_order(request, context.settings, own_fields(given), task)
    options = replace(
        order.options,
        word_timestamps=form.response_format == "verbose_json" and not is_true(given, "no_timestamps"),
        temperatures=temperatures(form.temperature, given),
    )
    transcript = await run_order(request, context, place, upload, replace(order, options=options))
    body = _render(transcript, form)
    headers = warning_header([*warnings, *transcript.warnings])
    return Response(body.text, media_type=body.media_type, headers=headers)


def _render(transcript: Transcript, form: AudioForm) -> Body:
    """``json`` and ``text`` have a line for each segment, ``verbose_json`` words and more about the language."""
    lines = "".join(f"{segment.text}\n" for segment in transcript.segments)
    if form.response_format == "text":
        return Body(text=lines, media_type="text/plain; charset=utf-8")
    if form.response_format == "json":
        return _json({"text": lines})
    if form.response_format == "verbose_json":
        return _json(_verbose(transcript, lines))
    return render(transcript, form.response_format, format_options(form))


def _json(body: dict[str, Any]) -> Body:
    return Body(text=json.dumps(body, ensure_ascii=False, allow_nan=False), media_type="application/json")


def _verbose(transcript: Transcript, lines: str) -> dict[str, Any]:
    code = transcript.language
    name = LANGUAGES.get(code, code) if code else UNKNOWN_LANGUAGE
    probability = round(transcript.language_probability or 0.0, 4)
    return {
        "task": transcript.task,
        "language": name,
        "duration": round(transcript.duration, 3),
        "text": lines,
        "segments": [_segment(segment) for segment in transcript.segments],
        "detected_language": name,
        "detected_language_probability": probability,
        "language_probabilities": {code: probability} if code else {},
    }


def _segment(segment: Segment) -> dict[str, Any]:
    body = segment_object(segment)
    if segment.words is None:
        return body
    return body | {"words": [word_object(word) | {"word": word.word, "t_dtw": -1} for word in segment.words]}
