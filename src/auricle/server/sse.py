"""Server-sent events, with comments that keep a silent connection alive."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from auricle.server.errors import ErrorEnvelope, describe
from auricle.server.record import RequestRecord, record_of
from auricle.server.waiting import unless_client_leaves

logger = logging.getLogger("auricle.access")

Event = Mapping[str, Any]
_KEEP_ALIVE = b": keep-alive\n\n"
_DONE = b"data: [DONE]\n\n"


async def stream_events(
    request: Request,
    events: AsyncGenerator[Event, None],
    *,
    keepalive_s: float,
    headers: Mapping[str, str],
) -> "EventStream":
    """The answer that sends ``events`` and closes them at its end.

    Waits up to ``keepalive_s`` for the first event, so that an error before it is raised here and gets a status of
    its own; a later one becomes an event with ``error``. Raises ClientDisconnect where the client leaves meanwhile.
    """
    stream = EventStream(events, record_of(request), keepalive_s=keepalive_s, headers=headers)
    try:
        await unless_client_leaves(request.receive, stream.wait_for_first_event())
    except BaseException:
        await stream.close()
        raise
    return stream


class EventStream(StreamingResponse):
    """A response that writes events as they come; one ``data:`` line each, ``data: [DONE]`` last."""

    def __init__(
        self,
        events: AsyncGenerator[Event, None],
        record: RequestRecord,
        *,
        keepalive_s: float,
        headers: Mapping[str, str],
    ) -> None:
        # Proxies such as nginx would hold events back without the second header.
        own = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        super().__init__(self._frames(), media_type="text/event-stream", headers=own | dict(headers))
        self._events = events
        self._record = record
        self._keepalive_s = keepalive_s
        self._pending = asyncio.ensure_future(anext(events))

    async def wait_for_first_event(self) -> None:
        """Raises what the events raise instead of a first one; returns without one after ``keepalive_s``."""
        done, _ = await asyncio.wait({self._pending}, timeout=self._keepalive_s)
        if done and (error := self._pending.exception()) is not None:
            raise error

    async def close(self) -> None:
        """Stop the work behind the events and wait until it has stopped."""
        self._pending.cancel()
        await asyncio.gather(self._pending, return_exceptions=True)
        await self._events.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await unless_client_leaves(receive, self.stream_response(send))
        finally:
            await self.close()

    async def _frames(self) -> AsyncIterator[bytes]:
        while True:
            done, _ = await asyncio.wait({self._pending}, timeout=self._keepalive_s)
            if not done:
                yield _KEEP_ALIVE
                continue
            try:
                event = self._pending.result()
            except StopAsyncIteration:
                break
            except Exception as exc:  # noqa: BLE001  The last handler: the status is sent, only an event can tell.
                yield _frame(self._error_event(exc))
                return
            yield _frame(event)
            self._pending = asyncio.ensure_future(anext(self._events))
        yield _DONE

    def _error_event(self, exc: Exception) -> Event:
        status, body = describe(exc)
        self._record.fail(body.code, body.message, body.param)
        if status == 500:
            logger.error("request_id=%s failed", self._record.request_id, exc_info=exc)
        return ErrorEnvelope(error=body).model_dump()


def _frame(event: Event) -> bytes:
    return b"data: " + json.dumps(event, ensure_ascii=False, allow_nan=False).encode() + b"\n\n"
