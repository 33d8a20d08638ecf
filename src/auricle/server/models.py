"""``/v1/models``: what a request may name."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from auricle.errors import ModelNotFound
from auricle.pipeline.models import ModelSummary
from auricle.server.context import RequestContext

router = APIRouter(prefix="/v1/models", tags=["models"])


class ModelObject(BaseModel):
    """A model, as OpenAI's API describes one."""

    id: str
    created: int
    object: Literal["model"] = "model"
    owned_by: str
    loaded: bool
    """Whether it is in memory now."""
    is_default: bool


class ModelList(BaseModel):
    """All models."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


@router.get("", summary="List models")
async def list_models(context: RequestContext) -> ModelList:
    """The default model, its aliases, and what is loaded or on disk. Other names are fetched when asked for."""
    return ModelList(data=[_describe(summary) for summary in context.runtime.models.listing()])


@router.get("/{model_id:path}", summary="Describe a model")
async def get_model(model_id: str, context: RequestContext) -> ModelObject:
    """One model of the list."""
    for summary in context.runtime.models.listing():
        if summary.id == model_id:
            return _describe(summary)
    raise ModelNotFound(f"There is no model {model_id[:100]!r} here; GET /v1/models lists them.", param="model")


def _describe(summary: ModelSummary) -> ModelObject:
    return ModelObject(
        id=summary.id,
        created=summary.created,
        owned_by=summary.owned_by,
        loaded=summary.is_loaded,
        is_default=summary.is_default,
    )
