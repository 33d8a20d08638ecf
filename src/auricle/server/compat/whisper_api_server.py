"""The API of "Whisper API Server": JSON with audio in base64, also as a chat."""

import asyncio
import math
import time
import uuid
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from auricle.config import Settings
from auricle.errors import UnsupportedOption
from auricle.server.admission import Place
from auricle.server.compat.base64_audio import JSON_SCHEMA, Base64Audio, JsonAudio
from auricle.server.context import Admitted, Context, RequestContext
from auricle.server.envelopes import error_example
from auricle.server.json_body import JsonRoute
from auricle.server.record import record_of
from auricle.server.sniff import HEAD_BYTES, sniff_format
from auricle.server.work import read_order, run_order, warning_header
from auricle.types import Transcript
from auricle.units import TIMESTAMP_S

_MODELS = {f"whisper-{size}": size for size in ("tiny", "base", "small", "medium", "large")}
_DEFAULT_MODEL = "whisper-1"
_BODY = {"requestBody": JSON_SCHEMA}


class JsonTranscription(BaseModel):
    """The text, and how it was made."""

    text: str
    processing_time: float
    """Seconds."""
    model: str
    """As it was asked for."""
    format: str
    """What the audio's bytes are: ``mp3``, ``m4a``, ``wav``, ``flac``, ``ogg``, ``webm``."""


class AudioInfo(BaseModel):
    """What arrived."""

    audio_size_bytes: int
    audio_size_mb: float
    base64_length: int
    model: str
    language: str


json_router = APIRouter(tags=["audio"], route_class=JsonRoute)
"""To be included before the router of OpenAI's API, whose route of the same path takes all other bodies."""

router = APIRouter(tags=["audio"])
debug_router = APIRouter(tags=["compatibility"])


@json_router.post("/v1/audio/transcriptions", include_in_schema=False)
async def transcribe_json(
    request: Request, response: Response, context: RequestContext, place: Admitted, audio: Base64Audio
) -> JsonTranscription:
    """The text of the audio in the body."""
    answer, transcript = await _transcribe(request, context, place, audio)
    response.headers.update(warning_header(transcript.warnings))
    return answer


@router.post(
    "/v1/chat/completions",
    summary="Transcribe audio in a chat message",
    openapi_extra=_BODY,
    responses=error_example("/v1/chat/completions"),
)
async def complete_chat(
    request: Request, response: Response, context: RequestContext, place: Admitted, audio: Base64Audio
) -> dict[str, Any]:
    """The text of the audio as the assistant's answer; without `messages`, only `text` and what goes with it.

    Nothing but audio is looked at: the server holds no language model.
    """
    if audio.is_chat and audio.wants_stream:
        raise UnsupportedOption("stream: the answer to a chat comes in one piece here; leave it out.", param="stream")
    answer, transcript = await _transcribe(request, context, place, audio)
    response.headers.update(warning_header(transcript.warnings))
    return (_completion(answer, transcript) if audio.is_chat else {}) | answer.model_dump()


@debug_router.post(
    "/debug/audio-info",
    summary="Size of audio in JSON",
    openapi_extra=_BODY,
    responses=error_example("/debug/audio-info"),
)
async def audio_info(audio: Base64Audio) -> AudioInfo:
    """What arrived; nothing is transcribed."""
    return AudioInfo(
        audio_size_bytes=audio.size,
        audio_size_mb=round(audio.size / (1 << 20), 2),
        base64_length=audio.base64_length,
        model=_asked_model(audio),
        language=audio.fields.get("language", "auto"),
    )


async def _transcribe(
    request: Request, context: Context, place: Place, audio: JsonAudio
) -> tuple[JsonTranscription, Transcript]:
    fields = audio.fields | {"model": _own_name(_asked_model(audio), context.settings)}
    _, order, _ = read_order(request, context.settings, fields.items(), "transcribe")
    transcript = await run_order(request, context, place, audio, order)
    answer = JsonTranscription(
        text=transcript.text.strip(),
        processing_time=round(record_of(request).seconds, 3),
        model=_asked_model(audio),
        format=await asyncio.to_thread(_format_of, audio.path),
    )
    return answer, transcript


def _asked_model(audio: JsonAudio) -> str:
    return audio.fields.get("model", "").strip() or _DEFAULT_MODEL


def _own_name(model: str, settings: Settings) -> str:
    return model if model in settings.model_aliases else _MODELS.get(model, model)


def _format_of(path: Path) -> str:
    with path.open("rb") as file:
        # What is marked as nothing else and was read all the same is most likely a bare stream of mp3.
        return sniff_format(file.read(HEAD_BYTES)) or "mp3"


def _completion(answer: JsonTranscription, transcript: Transcript) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    heard = math.ceil(transcript.duration / TIMESTAMP_S)
    written = sum(len(segment.tokens) for segment in transcript.segments)
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": heard, "completion_tokens": written, "total_tokens": heard + written},
    }
