"""What every request gets: an id, a log line, the server's own headers, and an answer whatever happens."""

import asyncio
import json
import logging
import re
import time
import uuid
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auricle.batching.metrics import Metrics
from auricle.server.errors import error_response, shutting_down
from auricle.server.metrics import CLIENT_LEFT, count_request, route_of
from auricle.server.record import RequestRecord
from auricle.types import STAGES

logger = logging.getLogger("auricle.access")

Trace = Callable[[Scope, RequestRecord], str | None]
"""Exports a request that has ended, and gives the id of its trace."""

_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_PLAIN = re.compile(r"[!#-~]+")
"""What stands in a console line without quotes."""
_QUIET_PATHS = ("/health", "/metrics", "/status")
"""Asked for every few seconds by machines; logged with ``debug`` only, and not traced."""


class Access:
    """ASGI middleware around all routes."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, trace: Trace | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._trace = trace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = RequestRecord(request_id=_request_id(Headers(scope=scope)))
        scope["auricle.record"] = record

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = record.request_id
                headers["openai-processing-ms"] = str(round(record.seconds * 1000))
                if record.cache and record.status < 400:
                    headers["x-auricle-cache"] = record.cache
                if timing := _server_timing(record):
                    headers["server-timing"] = timing
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            record.status = CLIENT_LEFT
        except asyncio.CancelledError:
            # Only the server's end cancels this task, which has nothing else to do.
            record.fail("shutdown", "the server ended")
            if not record.status:
                await shutting_down(scope)(scope, receive, send_with_headers)
        except Exception as exc:  # The last handler: a defect is logged and told to nobody else.
            logger.exception("request_id=%s failed", record.request_id)
            record.fail("internal_error", type(exc).__name__)
            if not record.status:
                await error_response(exc, scope)(scope, receive, send_with_headers)
        finally:
            record.ended = time.perf_counter()
            count_request(self._metrics, scope, record)
            if self._trace is not None and not _is_quiet(scope):
                record.trace_id = self._trace(scope, record)
            _log(scope, record)


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"


def _server_timing(record: RequestRecord) -> str | None:
    """The stages in milliseconds, as browsers and proxies read them; an event stream begins before they are known."""
    parts = [f"cache;desc={record.cache}"] if record.cache else []
    if record.timings is not None:
        stages: dict[str, float] = {name: getattr(record.timings, name) for name in (*STAGES, "total")}
        parts += [f"{name};dur={seconds * 1000:.1f}" for name, seconds in stages.items()]
    return ", ".join(parts)


def _log(scope: Scope, record: RequestRecord) -> None:
    line = _line(scope, record)
    level = logging.DEBUG if _is_quiet(scope) and record.error is None else logging.INFO
    if logger.isEnabledFor(level):
        known = {name: value for name, value in line.items() if value is not None}
        logger.log(level, " ".join(f"{name}={_plain(value)}" for name, value in known.items()), extra={"fields": line})


def _line(scope: Scope, record: RequestRecord) -> dict[str, object]:
    """The line's fields, always all of them; None for what is not known or does not apply."""
    # As it came over the wire, percent signs and all, so that no path can forge a line. The query is not in it.
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode("ascii", "backslashreplace")
    client = scope.get("client")
    timings = record.timings
    return {
        "request_id": record.request_id,
        "client_ip": client[0] if client else None,
        "key": record.owner,
        "method": scope["method"],
        "path": raw_path[:200].decode("latin-1"),
        "route": route_of(scope),
        "status": record.status,
        "code": record.error,
        "error_message": record.error_message,
        "processing_time_ms": round(record.seconds * 1000, 1),
        "file_size_bytes": record.file_bytes,
        "audio_hash": record.audio_hash,
        "model": record.model,
        "audio_seconds": None if record.audio_s is None else round(record.audio_s, 3),
        "rtfx": round(timings.rtfx, 2) if timings and timings.total > 0 else None,
        "cache": record.cache,
        "trace_id": record.trace_id,
    }


def _is_quiet(scope: Scope) -> bool:
    return scope["path"].startswith(_QUIET_PATHS)


def _plain(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
