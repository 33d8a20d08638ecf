"""``/v1/models``: what a request may name; for operators, what is on disk and in memory."""

import math
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel

from auricle.errors import ModelNotFound
from auricle.pipeline.models import ModelSummary
from auricle.server.auth import Caller, Principal, may_use_model, require_admin
from auricle.server.context import Context, RequestContext

_POLL_S = 2.0


class ModelObject(BaseModel):
    """A model, as OpenAI's API describes one; what stands after ``owned_by`` is an addition."""

    id: str
    created: int
    object: Literal["model"] = "model"
    owned_by: str
    is_default: bool
    downloaded: bool
    """Whether it is on disk."""
    loaded: bool
    """Whether it is in memory now."""
    pinned: bool
    """Whether it is in memory and stays there."""
    requests: int
    """Transcriptions that use it now."""
    memory_bytes: int
    """Of its engine's process; 0 where it is not loaded."""
    engine: str | None
    """That runs it: `ct2`, `openvino`; null where it is not loaded."""
    compute_type: str | None
    """Number format of the weights; null where it is not loaded."""


class ModelList(BaseModel):
    """All models."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


class ModelDeleted(BaseModel):
    """What OpenAI's API answers for a model that was deleted, and the bytes of disk that are free now."""

    id: str
    object: Literal["model"] = "model"
    deleted: Literal[True] = True
    freed_bytes: int


router = APIRouter(prefix="/v1/models", tags=["models"])
operators = APIRouter(
    prefix="/v1/models",
    tags=["models"],
    dependencies=[Depends(require_admin)],
    responses={403: {"description": "Not for you"}},
)
"""Beside the other, not within it: logs and metrics would show the routes without the prefix."""
Force = Annotated[bool, Query(description="Do not wait for running requests; they fail with status 503.")]
Wait = Annotated[bool, Query(description="Answer when the model is there.")]


@router.get("", summary="List models")
async def list_models(context: RequestContext, caller: Caller) -> ModelList:
    """The default model, its aliases, and what is loaded or on disk, as far as the key may use it. Others with a short
    name are fetched when asked for."""
    return ModelList(data=[_describe(summary) for summary in await _usable(context, caller)])


@router.get("/{model_id:path}", summary="Describe a model")
async def get_model(model_id: str, context: RequestContext, caller: Caller) -> ModelObject:
    """One model of the list."""
    for summary in await _usable(context, caller):
        if summary.id == model_id:
            return _describe(summary)
    raise ModelNotFound(f"There is no model {model_id[:100]!r} here; GET /v1/models lists them.", param="model")


# The routes with a word behind the name come first: a name may hold slashes.
@operators.post("/{model_id:path}/load", summary="Load a model")
async def load_model(model_id: str, context: RequestContext) -> ModelObject:
    """Answers when the model is in memory, after a download if need be; at once where it is there already."""
    models = context.runtime.models
    await models.load(model_id)
    return _describe(await models.summary(model_id))


@operators.post("/{model_id:path}/unload", summary="Unload a model")
async def unload_model(model_id: str, context: RequestContext, force: Force = False) -> ModelObject:
    """Answers when the engine's process has ended and its memory is free: when the requests that use the model are
    done, or at once with ``force``. Requests that come meanwhile load it anew."""
    models = context.runtime.models
    await models.unload(model_id, force=force)
    return _describe(await models.summary(model_id))


@operators.post("/{model_id:path}", summary="Download a model", responses={202: {"model": ModelObject}})
async def pull_model(model_id: str, context: RequestContext, response: Response, wait: Wait = False) -> ModelObject:
    """200 when the model is on disk; 202 with Retry-After while it is on its way, ``/health`` tells how far. Ask again
    for the outcome. Any repository of Whisper weights for CTranslate2 may be named."""
    models = context.runtime.models
    if not await models.pull(model_id, wait=wait):
        response.status_code = 202
        response.headers["retry-after"] = str(math.ceil(_POLL_S))
    return _describe(await models.summary(model_id))


@operators.delete("/{model_id:path}", summary="Remove a download", responses={409: {"description": "It is in use"}})
async def remove_model(model_id: str, context: RequestContext) -> ModelDeleted:
    """Deletes the files; a model that is loaded and idle is unloaded first."""
    return ModelDeleted(id=model_id, freed_bytes=await context.runtime.models.remove(model_id))


async def _usable(context: Context, caller: Principal) -> list[ModelSummary]:
    models = context.runtime.models
    return [summary for summary in await models.listing() if may_use_model(caller, models, summary.id)]


def _describe(summary: ModelSummary) -> ModelObject:
    return ModelObject(
        id=summary.id,
        created=summary.created,
        owned_by=summary.owned_by,
        is_default=summary.is_default,
        downloaded=summary.is_downloaded,
        loaded=summary.is_loaded,
        pinned=summary.is_pinned,
        requests=summary.requests,
        memory_bytes=summary.memory_bytes,
        engine=summary.engine,
        compute_type=summary.compute_type,
    )
