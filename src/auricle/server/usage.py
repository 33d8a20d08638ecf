"""``GET /v1/usage``: what keys have used, by day."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from auricle.errors import Busy, Forbidden
from auricle.server.auth import Caller
from auricle.server.context import RequestContext
from auricle.store.unavailable import StoreUnavailable

router = APIRouter(prefix="/v1/usage", tags=["usage"])


class UsageOfDay(BaseModel):
    """Of one key on one day."""

    object: Literal["usage"] = "usage"
    key: str = Field(description="Id of the key.")
    name: str = Field(description="What the key is called.")
    day: date = Field(description="In UTC.")
    requests: int = Field(description="Requests for a transcript, those included that failed.")
    audio_seconds: float = Field(description="Audio of the transcripts.")
    errors: int = Field(description="Requests that got none.")


class Usage(BaseModel):
    """Newest day first."""

    object: Literal["list"] = "list"
    data: list[UsageOfDay]


Key = Annotated[str | None, Query(description="Id or name of a key; for admin keys. Without it, all keys.")]
Days = Annotated[int, Query(ge=1, le=3660, description="How many days back, today included.")]


@router.get("", summary="What keys have used")
async def usage(context: RequestContext, caller: Caller, key: Key = None, days: Days = 30) -> Usage:
    """Of the key that asks; an admin key sees all keys. A server without keys counts nothing."""
    accounts = context.accounts
    names = accounts.keyring.names() | ({caller.owner: caller.name} if caller.owner else {})
    if not caller.owner:
        return Usage(data=[])
    owner = caller.owner
    if caller.is_admin:
        owner = next((known for known, name in names.items() if key in {known, name}), key)
    elif key is not None and key not in {caller.owner, caller.name}:
        raise Forbidden("This key sees its own usage only; an admin key sees that of all.", param="key")
    await accounts.write_usage()
    since = datetime.now(UTC).date() - timedelta(days=days - 1)
    try:
        rows = await accounts.read_usage(since=since, owner=owner)
    except StoreUnavailable as exc:
        raise Busy(f"The usage cannot be read now: {exc}") from exc
    return Usage(
        data=[
            UsageOfDay(
                key=row.owner,
                name=names.get(row.owner, row.owner),
                day=row.day,
                requests=row.requests,
                audio_seconds=round(row.audio_s, 3),
                errors=row.errors,
            )
            for row in rows
        ]
    )
