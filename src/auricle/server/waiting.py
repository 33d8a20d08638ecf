"""Work that ends when nobody waits for it any more."""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from auricle.errors import DeadlineExceeded

T = TypeVar("T")


async def unless_client_leaves(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Result of ``work``, which is cancelled and waited for where the client closes the connection.

    The body must have been read before. Raises starlette's ClientDisconnect where the client left.
    """
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_wait_until_gone(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def before(deadline: float | None, work: Awaitable[T]) -> T:
    """Result of ``work``, which is cancelled at ``deadline`` (monotonic clock). Raises DeadlineExceeded then."""
    limit = asyncio.timeout_at(deadline)
    try:
        async with limit:
            return await work
    except TimeoutError as exc:
        if not limit.expired():
            raise
        raise DeadlineExceeded(
            "The transcription was not done in the time that the request (deadline_s) or the server "
            "(AURICLE_REQUEST_TIMEOUT_S) allows."
        ) from exc


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
