"""A JSON body, within bounds: on disk while it arrives, so that slow senders hold no memory."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import Scope

from auricle.audio.fetch import BoundedFile, too_large
from auricle.errors import InputError
from auricle.server.uploads import announced_bytes, body_chunks


class JsonRoute(APIRoute):
    """A route for requests with a JSON body; those with another body go to the next route of the same path."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As every route, but nothing where the body is not JSON."""
        match, child_scope = super().matches(scope)
        return (match, child_scope) if match is not Match.NONE and has_json_body(scope) else (Match.NONE, {})


def has_json_body(scope: Scope) -> bool:
    """Whether the header says so."""
    media_type = Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json"


@asynccontextmanager
async def spool_body(
    request: Request, *, folder: Path, max_bytes: int, min_bytes_s: float = 0.0
) -> AsyncGenerator[Path]:
    """The body of ``request`` in a file, which is removed at the end.

    Raises AudioTooLarge above ``max_bytes``, HTTPException 408 and ClientDisconnect as ``read_form`` does.
    """
    announced = announced_bytes(request)
    if announced is not None and announced > max_bytes:
        raise too_large(max_bytes, announced)
    with BoundedFile(folder, max_bytes=max_bytes, announced_bytes=announced) as file:
        async for chunk in body_chunks(request, min_bytes_s):
            await asyncio.to_thread(file.write, chunk)
        await asyncio.to_thread(file.finish)
        yield file.path


def parse_json(raw: bytes) -> object:
    """Whatever ``raw`` holds. Raises InputError for what is not JSON, lone surrogates and NaN among it."""
    try:
        return from_json(raw, allow_inf_nan=False)
    except ValueError as exc:
        raise InputError(f"The body cannot be read as JSON: {exc}.") from exc


def parse_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in ``raw``. Raises InputError for anything else."""
    found = parse_json(raw)
    if not isinstance(found, dict):
        raise InputError("The body must be a JSON object.")
    return cast("dict[str, Any]", found)
