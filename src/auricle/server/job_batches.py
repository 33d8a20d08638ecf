"""``POST /v1/jobs/batch``: many jobs in one request."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from fastapi import APIRouter, Request

from auricle.audio.fetch import MIB
from auricle.errors import AuricleError, InputError, InvalidOption
from auricle.job_types import JobSource
from auricle.server.auth import quota_of
from auricle.server.context import Admitted, Context, RequestContext
from auricle.server.errors import describe
from auricle.server.job_orders import accept
from auricle.server.job_schemas import Batch, BatchItem, job_object
from auricle.server.job_wishes import check_idempotency_key, job_properties, wish_of_json
from auricle.server.json_body import parse_json, spool_body
from auricle.server.urgency import HEADER_PARAMETERS

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_MAX_BYTES = 32 * MIB
_ITEM: dict[str, Any] = {"type": "object", "required": ["url"], "properties": job_properties(in_json=True)}
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"type": "array", "minItems": 1, "items": _ITEM},
            "example": [
                {"url": "https://example.com/1.mp3", "idempotency_key": "episode-1"},
                {"url": "https://example.com/2.mp3", "idempotency_key": "episode-2"},
            ],
        }
    },
}


@router.post(
    "/batch",
    summary="Submit many jobs",
    openapi_extra={"requestBody": _BODY, "parameters": HEADER_PARAMETERS[:1]},
)
async def submit_batch(request: Request, context: RequestContext, _place: Admitted) -> Batch:
    """A list of jobs with a `url` each. Every job is accepted or refused by itself, and counts as a request of its own;
    the answers come in the same order. With an `idempotency_key` in each (or an `Idempotency-Key` header for all), a
    batch whose answer got lost can be sent again."""
    items = await _read(request, context)
    key = check_idempotency_key(request.headers.get("idempotency-key"))
    answers: list[BatchItem] = []
    for index, item in enumerate(items):
        try:
            if index:  # the first is counted as the request itself
                quota_of(request).take_request()
            answers.append(await _accept(request, context, item, None if key is None else f"{key}:{index}"))
        except AuricleError as exc:
            status, body = describe(exc)
            answers.append(BatchItem(status=status, error=body))
    return Batch(data=answers)


async def _read(request: Request, context: Context) -> list[object]:
    async with (
        spool_body(
            request, folder=context.uploads, max_bytes=_MAX_BYTES, min_bytes_s=context.min_upload_bytes_s
        ) as body,
        context.json_turns,
    ):
        found = await asyncio.to_thread(_parse, body)
    limit = context.settings.max_batch_jobs
    if not isinstance(found, list) or not 1 <= len(cast("list[object]", found)) <= limit:
        raise InputError(f"The body must be a JSON list of 1 to {limit} jobs (AURICLE_MAX_BATCH_JOBS).")
    return cast("list[object]", found)


def _parse(body: Path) -> object:
    return parse_json(body.read_bytes())


async def _accept(request: Request, context: Context, item: object, key: str | None) -> BatchItem:
    if not isinstance(item, dict):
        raise InvalidOption("A job must be a JSON object.")
    wish = wish_of_json(cast("dict[str, Any]", item))
    if wish.url is None or wish.audio is not None or wish.url[:5].lower() == "data:":
        raise InvalidOption("url must be the address of a file; audio itself is sent in a job alone.", param="url")
    if wish.idempotency_key is None and key is not None:
        wish = replace(wish, idempotency_key=check_idempotency_key(key))
    accepted = await accept(request, context, wish, JobSource(kind="url", url=wish.url))
    return BatchItem(status=202, job=job_object(accepted.job))
