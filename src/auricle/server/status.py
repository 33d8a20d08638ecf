"""``GET /status``: how busy the server is, in one look."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from auricle.server.context import RequestContext
from auricle.server.metrics import transcriptions_by_model

router = APIRouter(tags=["health"])


class Status(BaseModel):
    """Load of the server."""

    queue_size: int = Field(description="Rows that wait for an engine.")
    model_usage: dict[str, int] = Field(description="Transcripts since the server started, by model.")
    requests_in_progress: int
    queued_audio_seconds: float = Field(description="Audio that these requests have still to do.")
    models_loaded: list[str]


@router.get("/status", summary="Load of the server")
async def status(context: RequestContext) -> Status:
    """What waits, what is being worked on, and which models have worked how often."""
    runtime = context.runtime
    return Status(
        queue_size=runtime.metrics.queue_rows(),
        model_usage=transcriptions_by_model(runtime.metrics),
        requests_in_progress=context.admitted,
        queued_audio_seconds=round(context.admission.queued_audio_s, 3),
        models_loaded=[model.name for model in runtime.models.loaded()],
    )
