"""Whether the server lives and can work."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from auricle import __version__
from auricle.server.context import Context, RequestContext

router = APIRouter(tags=["health"])


@router.get("/health", summary="State of the server")
async def health(context: RequestContext) -> dict[str, Any]:
    """Always 200 while the server runs.

    ``ready`` says whether the models of ``preload_models`` have been loaded, ``error`` why not. ``loading`` holds the
    models that are on their way, ``stage`` being ``downloading`` or ``starting``.
    """
    return _state(context)


@router.get("/health/live", summary="Is the process alive?")
async def live() -> dict[str, str]:
    """Always 200."""
    return {"status": "ok"}


@router.get("/health/ready", summary="Are the models there?")
async def ready(context: RequestContext) -> JSONResponse:
    """200, or 503 with Retry-After while a model of ``preload_models`` loads or cannot be had."""
    state = _state(context)
    if state["ready"]:
        return JSONResponse(state)
    return JSONResponse(state, status_code=503, headers={"retry-after": "5"})


def _state(context: Context) -> dict[str, Any]:
    preload = context.preload
    infos = [model.info for model in context.runtime.models.loaded()]
    return {
        "status": "ok",
        "ready": preload.ready,
        "version": __version__,
        "error": preload.error.message if preload.error else None,
        "requests": context.admitted,
        "models": [
            {"id": info.name, "engine": info.engine, "device": info.device, "compute_type": info.compute_type}
            for info in infos
        ],
        "loading": [asdict(loading) for loading in context.runtime.models.loading()],
    }
