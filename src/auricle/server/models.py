"""``/v1/models``: what a request may name; for operators, what is on disk and in memory."""

import math
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import BaseModel

from auricle.errors import ModelNotFound
from auricle.pipeline.models import ModelSummary
from auricle.server.context import RequestContext

_POLL_S = 2.0
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


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


def _only_operators(request: Request, context: RequestContext) -> None:
    """Let nobody but programs of this machine change what is loaded, unless the settings allow it to all.

    What came through a proxy, and what a web page of elsewhere sent (its browser may run on this machine), does not
    come from here.
    """
    if context.settings.allow_model_admin:
        return
    origin = request.headers.get("origin")
    is_local = (
        request.client is not None
        and _is_loopback(request.client.host)
        and not any(name in request.headers for name in _FORWARDED)
        and (origin is None or _is_loopback(urlsplit(origin).hostname or ""))
    )
    if not is_local:
        raise HTTPException(
            403, "Models are managed from the server's own machine only, unless AURICLE_ALLOW_MODEL_ADMIN is set."
        )


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


router = APIRouter(prefix="/v1/models", tags=["models"])
_operators = APIRouter(dependencies=[Depends(_only_operators)], responses={403: {"description": "Not for you"}})
Force = Annotated[bool, Query(description="Do not wait for running requests; they fail with status 503.")]
Wait = Annotated[bool, Query(description="Answer when the model is there.")]


@router.get("", summary="List models")
async def list_models(context: RequestContext) -> ModelList:
    """The default model, its aliases, and what is loaded or on disk. Others with a short name are fetched when asked
    for."""
    return ModelList(data=[_describe(summary) for summary in await context.runtime.models.listing()])


@router.get("/{model_id:path}", summary="Describe a model")
async def get_model(model_id: str, context: RequestContext) -> ModelObject:
    """One model of the list."""
    for summary in await context.runtime.models.listing():
        if summary.id == model_id:
            return _describe(summary)
    raise ModelNotFound(f"There is no model {model_id[:100]!r} here; GET /v1/models lists them.", param="model")


# The routes with a word behind the name come first: a name may hold slashes.
@_operators.post("/{model_id:path}/load", summary="Load a model")
async def load_model(model_id: str, context: RequestContext) -> ModelObject:
    """Answers when the model is in memory, after a download if need be; at once where it is there already."""
    models = context.runtime.models
    await models.load(model_id)
    return _describe(await models.summary(model_id))


@_operators.post("/{model_id:path}/unload", summary="Unload a model")
async def unload_model(model_id: str, context: RequestContext, force: Force = False) -> ModelObject:
    """Answers when the engine's process has ended and its memory is free: when the requests that use the model are
    done, or at once with ``force``. Requests that come meanwhile load it anew."""
    models = context.runtime.models
    await models.unload(model_id, force=force)
    return _describe(await models.summary(model_id))


@_operators.post("/{model_id:path}", summary="Download a model", responses={202: {"model": ModelObject}})
async def pull_model(model_id: str, context: RequestContext, response: Response, wait: Wait = False) -> ModelObject:
    """200 when the model is on disk; 202 with Retry-After while it is on its way, ``/health`` tells how far. Ask again
    for the outcome. Any repository of Whisper weights for CTranslate2 may be named."""
    models = context.runtime.models
    if not await models.pull(model_id, wait=wait):
        response.status_code = 202
        response.headers["retry-after"] = str(math.ceil(_POLL_S))
    return _describe(await models.summary(model_id))


@_operators.delete("/{model_id:path}", summary="Remove a download", responses={409: {"description": "It is in use"}})
async def remove_model(model_id: str, context: RequestContext) -> ModelDeleted:
    """Deletes the files; a model that is loaded and idle is unloaded first."""
    return ModelDeleted(id=model_id, freed_bytes=await context.runtime.models.remove(model_id))


router.include_router(_operators)


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
    )
