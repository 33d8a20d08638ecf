"""The API of whisper-asr-webservice, as Bazarr and others speak it."""

import json
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from auricle.formats.openai_json import segment_object, word_object
from auricle.formats.registry import render
from auricle.pipeline.checkpoint import Checkpoint, ClipResult
from auricle.server.compat.raw_pcm import with_header
from auricle.server.context import Admitted, RequestContext
from auricle.server.envelopes import error_example
from auricle.server.receive import AudioFileForm, audio_form
from auricle.server.uploads import AudioSource, Form
from auricle.server.waiting import unless_client_leaves
from auricle.server.work import read_order, run_order, stream_order, warning_header
from auricle.tokenizer import LANGUAGES
from auricle.types import ClipDone, Segment, Transcript

router = APIRouter(tags=["audio"])

_FORM = audio_form("audio_file")
_NOT_HEARD = ("en", 0.0)
"""Language and confidence where nothing is said; clients want one."""
_MEDIA_TYPE = "text/plain; charset=utf-8"

Encode = Annotated[bool, Query(description="Without it, audio without a header is 16-bit mono samples at 16 kHz.")]


class DetectedLanguage(BaseModel):
    """What is spoken, and how likely that is."""

    detected_language: str
    """English name."""
    language_code: str
    confidence: float


@router.post(
    "/asr",
    summary="Transcribe audio (whisper-asr-webservice)",
    openapi_extra=_FORM,
    responses={200: {"description": "The transcript.", "content": {"text/plain": {}}}, **error_example("/asr")},
    response_class=Response,
)
async def transcribe_as_text(
    *,
    request: Request,
    context: RequestContext,
    place: Admitted,
    upload: AudioFileForm,
    encode: Encode = True,
    task: Literal["transcribe", "translate"] = "transcribe",
    language: Annotated[str | None, Query(description="Language of the audio; detected without it.")] = None,
    initial_prompt: Annotated[str | None, Query(description="Text that comes before the audio.")] = None,
    vad_filter: Annotated[bool | None, Query(description="Find speech first.")] = None,
    word_timestamps: Annotated[bool, Query(description="Tell the time of each word in `json`.")] = False,
    diarize: Annotated[bool, Query(description="Tell speakers apart, for all but `txt`.")] = False,
    min_speakers: Annotated[int | None, Query(description="How many speak at least; with `diarize`.")] = None,
    max_speakers: Annotated[int | None, Query(description="How many speak at most; with `diarize`.")] = None,
    output: Annotated[Literal["txt", "vtt", "srt", "tsv", "json"], Query(description="What the answer is.")] = "txt",
) -> Response:
    """The transcript as a file."""
    asked: dict[str, object] = {"language": language, "prompt": initial_prompt, "vad": vad_filter}
    if diarize:
        asked |= {"diarize": True, "min_speakers": min_speakers, "max_speakers": max_speakers}
    given = [(name, str(value)) for name, value in asked.items() if value is not None]
    _, order, warnings = read_order(request, context.settings, (*upload.fields, *given), task)
    order = replace(order, options=replace(order.options, word_timestamps=word_timestamps))
    async with _as_sent(upload, context.uploads, encode=encode) as audio:
        transcript = await run_order(request, context, place, audio, order)
    name = quote(upload.file_name or "audio", errors="replace")
    headers = warning_header([*warnings, *transcript.warnings]) | {
        "content-disposition": f'attachment; filename="{name}.{output}"',
        "asr-engine": "auricle",
    }
    return Response(_render(transcript, output), media_type=_MEDIA_TYPE, headers=headers)


@router.post(
    "/detect-language",
    summary="Detect the language (whisper-asr-webservice)",
    openapi_extra=_FORM,
    responses=error_example("/detect-language"),
)
async def detect_language(
    request: Request, context: RequestContext, place: Admitted, upload: AudioFileForm, encode: Encode = True
) -> DetectedLanguage:
    """The language of the first speech; no more of the file is read than that takes."""
    _, order, _ = read_order(request, context.settings, upload.fields, "transcribe")
    order = replace(order, options=replace(order.options, language=None, vad=True, beam_size=1, temperatures=(0.0,)))
    heard: list[tuple[str | None, float | None]] = []

    def note(number: int, clip: ClipResult) -> None:
        del number
        heard.append(clip.language)

    async with _as_sent(upload, context.uploads, encode=encode) as audio:
        parts = await stream_order(request, context, place, audio, order, checkpoint=Checkpoint(save=note))
        await unless_client_leaves(request.receive, _first(parts))
    code, confidence = next(((code, found or 0.0) for code, found in heard if code), _NOT_HEARD)
    return DetectedLanguage(
        detected_language=LANGUAGES.get(code, code), language_code=code, confidence=round(confidence, 4)
    )


def _as_sent(upload: Form, folder: Path, *, encode: bool) -> AbstractAsyncContextManager[AudioSource]:
    return nullcontext(upload) if encode else with_header(upload, folder)


async def _first(parts: AsyncGenerator[ClipDone | Transcript, None]) -> None:
    """Wait for the first text, or for the end where there is none, and stop the work there."""
    async with aclosing(parts):
        await anext(parts)


def _render(transcript: Transcript, output: str) -> str:
    if output == "txt":
        return "".join(f"{segment.text.strip()}\n" for segment in transcript.segments)
    if output != "json":
        return render(transcript, output).text
    body = {
        "text": transcript.text,
        "segments": [_segment(segment) for segment in transcript.segments],
        "language": transcript.language or _NOT_HEARD[0],
    }
    return json.dumps(body, ensure_ascii=False, allow_nan=False)


def _segment(segment: Segment) -> dict[str, Any]:
    body = segment_object(segment)
    if segment.words is None:
        return body
    # Clients of this API put the words together themselves, so the blanks between them stay.
    return body | {"words": [word_object(word) | {"word": word.word} for word in segment.words]}
