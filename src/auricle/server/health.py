"""Whether the server lives and can work."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from auricle import __version__
from auricle.pipeline.memory import memory_percent
from auricle.server.auth import Caller, Principal
from auricle.server.context import Context, RequestContext

router = APIRouter(tags=["health"])
_NO_KEY_NEEDED: dict[str, Any] = {"security": [{}]}
"""For OpenAPI: beside what all routes have."""


@router.get("/health", summary="State of the server", openapi_extra=_NO_KEY_NEEDED)
async def health(context: RequestContext, caller: Caller) -> dict[str, Any]:
    """Always 200 while the server runs.

    ``ready`` says whether the models of ``preload_models`` have been loaded, ``error`` why not. ``loading`` holds the
    models that are on their way, ``stage`` being ``downloading`` or ``starting``. Who has no key where keys are needed
    sees ``status``, ``service`` and ``ready`` only.
    """
    return _state(context, caller)


@router.get("/health/live", summary="Is the process alive?", openapi_extra=_NO_KEY_NEEDED)
async def live() -> dict[str, str]:
    """Always 200."""
    return {"status": "ok"}


@router.get(
    "/health/ready",
    summary="Are the models there?",
    openapi_extra=_NO_KEY_NEEDED,
    responses={503: {"description": "Not yet", "content": {"application/json": {"schema": {"type": "object"}}}}},
)
async def ready(context: RequestContext, caller: Caller) -> JSONResponse:
    """200, or 503 with Retry-After while a model of ``preload_models`` loads or cannot be had."""
    state = _state(context, caller)
    if state["ready"]:
        return JSONResponse(state)
    return JSONResponse(state, status_code=503, headers={"retry-after": "5"})


def _state(context: Context, caller: Principal) -> dict[str, Any]:
    preload = context.preload
    shown: dict[str, Any] = {"status": context.settings.health_status, "service": "auricle", "ready": preload.ready}
    if caller.is_guest:
        return shown
    infos = [model.info for model in context.runtime.models.loaded()]
    return shown | {
        "version": __version__,
        "error": preload.error.message if preload.error else None,
        "requests": context.admitted,
        "active_tasks": context.admitted,
        "memory_percent": memory_percent(),
        "models": [
            {"id": info.name, "engine": info.engine, "device": info.device, "compute_type": info.compute_type}
            for info in infos
        ],
        "loading": [asdict(loading) for loading in context.runtime.models.loading()],
    }
