"""The API of "Whisper API MVP"; its metrics and its health are those of the server."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from auricle.server.context import Admitted, RequestContext
from auricle.server.envelopes import error_example
from auricle.server.receive import FileForm, audio_form
from auricle.server.work import read_order, run_order, warning_header

router = APIRouter(tags=["audio"])


class Text(BaseModel):
    """The transcript."""

    text: str


@router.post(
    "/v1/transcribe",
    summary="Transcribe audio (Whisper API MVP)",
    openapi_extra=audio_form("file"),
    responses=error_example("/v1/transcribe"),
)
async def transcribe_plainly(
    request: Request, response: Response, context: RequestContext, place: Admitted, upload: FileForm
) -> Text:
    """The text; the fields of `/v1/audio/transcriptions` that shape it can be sent too."""
    _, order, warnings = read_order(request, context.settings, upload.fields, "transcribe")
    transcript = await run_order(request, context, place, upload, order)
    response.headers.update(warning_header([*warnings, *transcript.warnings]))
    return Text(text=transcript.text.strip())
