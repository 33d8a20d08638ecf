"""The forms that routes ask for: read when the request has a place, removed when the answer is sent or has failed."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, Any

from fastapi import Depends, Request

from auricle.server.context import Admitted, RequestContext
from auricle.server.record import record_of
from auricle.server.uploads import AudioSource, Form, read_form


def note_audio(request: Request, audio: AudioSource) -> None:
    """Take note of what arrived, for the log."""
    record_of(request).file_bytes = audio.size
    record_of(request).audio_hash = audio.sha256


def _form_with(field: str) -> Callable[..., AsyncIterator[Form]]:
    async def receive(request: Request, context: RequestContext, _place: Admitted) -> AsyncIterator[Form]:
        async with read_form(
            request,
            folder=context.uploads,
            max_bytes=context.max_upload_bytes,
            min_bytes_s=context.min_upload_bytes_s,
            field=field,
        ) as form:
            note_audio(request, form)
            yield form

    return receive


FileForm = Annotated[Form, Depends(_form_with("file"))]
"""A form whose audio is in the part ``file``."""

AudioFileForm = Annotated[Form, Depends(_form_with("audio_file"))]
"""A form whose audio is in the part ``audio_file``."""


def audio_form(field: str, others: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """For OpenAPI: a form with the audio in ``field``, and with ``others``."""
    audio = {"type": "string", "format": "binary", "description": "Audio or video, in any format FFmpeg reads."}
    form = {"type": "object", "required": [field], "properties": {field: audio, **(others or {})}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}
