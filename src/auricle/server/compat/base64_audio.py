"""A JSON body with audio in base64, as clients of "Whisper API Server" send it."""

import asyncio
import binascii
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

from fastapi import Depends, Request

from auricle.audio.fetch import MIB, BoundedFile
from auricle.errors import AudioTooLarge, EmptyAudio, InputError, InvalidOption
from auricle.server.context import Admitted, RequestContext
from auricle.server.json_body import parse_object, spool_body
from auricle.server.receive import note_audio
from auricle.server.uploads import MAX_FIELDS_BYTES

_MIN_BYTES = 1024
_TEXT = {"type": "string"}
_PROPERTIES: dict[str, Any] = {
    "model": _TEXT | {"default": "whisper-1", "description": "As in the form, or `whisper-small`."},
    "audio": _TEXT | {"description": "The file in base64, or a `data:` URL."},
    "language": _TEXT | {"default": "auto", "description": "Language of the audio."},
    "prompt": _TEXT | {"description": "Text that comes before the audio."},
    "audio_options": {
        "type": "object",
        "properties": {"data": _TEXT},
        "description": "Another place for the audio: `data`.",
    },
    "messages": {
        "type": "array",
        "items": {"type": "object"},
        "description": "One more: `content` with a part whose `input_audio`, `inputAudio` or itself has `data`.",
    },
}
JSON_SCHEMA: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": {"type": "object", "properties": _PROPERTIES}}},
}
"""For OpenAPI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonAudio:
    """What the body asks for; the audio lies at ``path`` until the request has its answer, or it is kept."""

    path: Path
    size: int
    sha256: str
    keep: Callable[[], Callable[[], None]]
    base64_length: int
    fields: dict[str, str]
    """``model``, ``language`` and ``prompt``, where they are given."""
    is_chat: bool
    """Whether there are messages."""
    wants_stream: bool


async def _receive(request: Request, context: RequestContext, _place: Admitted) -> AsyncIterator[JsonAudio]:
    """Raises InvalidOption, EmptyAudio and AudioTooLarge in the words that clients of this API know."""
    max_bytes = int(context.settings.max_json_audio_mb * MIB)
    folder, min_bytes_s = context.uploads, context.min_upload_bytes_s
    # Base64 is a third longer than what it holds; a line break here and there is allowed.
    max_body = max_bytes * 7 // 5 + MAX_FIELDS_BYTES
    with ExitStack() as stack:
        file = stack.enter_context(BoundedFile(folder, max_bytes=max_bytes))
        try:
            async with (
                spool_body(request, folder=folder, max_bytes=max_body, min_bytes_s=min_bytes_s) as body,
                context.json_turns,
            ):
                audio = await asyncio.to_thread(_unpack, body, file)
        except AudioTooLarge as exc:
            limit = f"{context.settings.max_json_audio_mb:g}MB"
            raise AudioTooLarge(f"Audio file too large. Maximum size is {limit}", param="audio") from exc
        note_audio(request, audio)
        yield audio


Base64Audio = Annotated[JsonAudio, Depends(_receive)]


def _unpack(body: Path, file: BoundedFile) -> JsonAudio:
    document = parse_object(body.read_bytes())
    encoded = _find_audio(document)
    file.write(_decode(encoded))
    file.finish()
    if file.size < _MIN_BYTES:
        raise InputError("Audio file too small. Minimum size is 1KB", param="audio")
    return JsonAudio(
        path=file.path,
        size=file.size,
        sha256=file.sha256,
        keep=file.keep,
        base64_length=len(encoded),
        fields=dict(_texts(document)),
        is_chat=document.get("messages") is not None,
        wants_stream=document.get("stream") is True,
    )


def _texts(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("model", "language", "prompt"):
        value = document.get(name)
        if isinstance(value, str):
            yield name, value
        elif value is not None:
            raise InvalidOption(f"{name} must be a text, not {type(value).__name__}.", param=name)


def _find_audio(document: dict[str, Any]) -> str:
    """The first text in a place for audio. Raises InvalidOption where there are other things, EmptyAudio for none."""
    found = [value for value in _places(document) if value not in (None, "")]
    if texts := [value for value in found if isinstance(value, str)]:
        return texts[0]
    if found:
        raise InvalidOption("Invalid audio data format", param="audio")
    raise EmptyAudio("Audio data is required", param="audio")


def _places(document: dict[str, Any]) -> Iterator[Any]:
    """What is in the places where clients put the audio."""
    yield document.get("audio")
    yield _data(document.get("audio_options"))
    for message in _entries(document.get("messages")):
        content = message.get("content")
        for part in _entries(cast("list[object]", content) if isinstance(content, list) else [content]):
            yield from (_data(part.get(name)) for name in ("inputAudio", "input_audio"))
            yield part.get("data")


def _data(value: object) -> object:
    return cast("dict[str, Any]", value).get("data") if isinstance(value, dict) else None


def _entries(values: object) -> list[dict[str, Any]]:
    entries = cast("list[object]", values) if isinstance(values, list) else []
    return [cast("dict[str, Any]", entry) for entry in entries if isinstance(entry, dict)]


def _decode(encoded: str) -> bytes:
    """Bytes of base64, of which a ``data:`` URL may be made, and in which there may be line breaks."""
    data = encoded.partition(",")[2] if encoded.startswith("data:") else encoded
    try:
        return binascii.a2b_base64("".join(data.split()), strict_mode=True)
    except ValueError as exc:
        raise InvalidOption("Invalid base64 encoding", param="audio") from exc
