"""Answers that are written while the work goes on: server-sent events, or lines of JSON."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from auricle.server.envelopes import ErrorBody, ErrorEnvelope
from auricle.server.errors import describe
from auricle.server.record import RequestRecord, record_of
from auricle.server.waiting import unless_client_leaves

logger = logging.getLogger("auricle.access")

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """How events are written."""

    media_type: str
    before: bytes
    """What stands before an event's JSON."""
    after: bytes
    end: bytes
    """Sent after the last event, where all went well."""
    keep_alive: bytes | None
    """Sent while nothing happens; None where clients would stumble over it."""
    error_event: Callable[[ErrorBody], Event]
    """Takes the place of events that do not come any more."""

    def frame(self, event: Event) -> bytes:
        """The event as it is sent."""
        return self.before + json.dumps(event, ensure_ascii=False, allow_nan=False).encode() + self.after


SSE = Framing(
    media_type="text/event-stream",
    before=b"data: ",
    after=b"\n\n",
    end=b"data: [DONE]\n\n",
    keep_alive=b": keep-alive\n\n",
    error_event=lambda body: ErrorEnvelope(error=body).model_dump(),
)

JSON_LINES = Framing(
    media_type="application/x-ndjson",
    before=b"",
    after=b"\n",
    end=b"",
    keep_alive=None,
    error_event=lambda body: {"error": body.message},
)


async def stream_events(
    request: Request,
    events: AsyncGenerator[Event, None],
    *,
    keepalive_s: float,
    headers: Mapping[str, str],
    framing: Framing = SSE,
) -> "EventStream":
    """The answer that sends ``events`` and closes them at its end.

    Waits up to ``keepalive_s`` for the first event, so that an error before it is raised here and gets a status of
    its own; a later one becomes an event with ``error``. Without signs of life in the framing there is nothing else to
    send, so the wait has no end. Raises ClientDisconnect where the client leaves meanwhile.
    """
    pause_s = None if framing.keep_alive is None else keepalive_s
    stream = EventStream(events, record_of(request), pause_s=pause_s, headers=headers, framing=framing)
    try:
        await unless_client_leaves(request.receive, stream.wait_for_first_event())
    except BaseException:
        await stream.close()
        raise
    return stream


class EventStream(StreamingResponse):
    """A response that writes events as they come, and a sign of life after each ``pause_s`` without one."""

    def __init__(
        self,
        events: AsyncGenerator[Event, None],
        record: RequestRecord,
        *,
        pause_s: float | None,
        headers: Mapping[str, str],
        framing: Framing,
    ) -> None:
        # Proxies such as nginx would hold events back without the second header.
        own = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        super().__init__(self._frames(), media_type=framing.media_type, headers=own | dict(headers))
        self._events = events
        self._record = record
        self._pause_s = pause_s
        self._framing = framing
        self._pending = asyncio.ensure_future(anext(events))

    async def wait_for_first_event(self) -> None:
        """Raises what the events raise instead of a first one; returns without one after ``pause_s``."""
        done, _ = await asyncio.wait({self._pending}, timeout=self._pause_s)
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
            done, _ = await asyncio.wait({self._pending}, timeout=self._pause_s)
            if not done:
                yield self._framing.keep_alive or b""
                continue
            try:
                event = self._pending.result()
            except StopAsyncIteration:
                break
            except Exception as exc:  # noqa: BLE001  The last handler: the status is sent, only an event can tell.
                yield self._framing.frame(self._error_event(exc))
                return
            yield self._framing.frame(event)
            self._pending = asyncio.ensure_future(anext(self._events))
        if self._framing.end:
            yield self._framing.end

    def _error_event(self, exc: Exception) -> Event:
        status, body = describe(exc)
        self._record.fail(body.code, body.message, body.param)
        if status == 500:
            logger.error("request_id=%s failed", self._record.request_id, exc_info=exc)
        return self._framing.error_event(body)
