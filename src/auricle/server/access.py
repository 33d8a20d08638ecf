"""What every request gets: an id, a log line, the server's own headers, and an answer whatever happens."""

import asyncio
import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auricle.server.errors import error_response, shutting_down
from auricle.server.record import RequestRecord

logger = logging.getLogger("auricle.access")

_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_QUIET_PATHS = ("/health", "/metrics")
"""Asked for every few seconds by machines; logged with ``debug`` only."""
CLIENT_LEFT = 499
"""Status in the log for a client that did not wait for its answer, as nginx writes it."""


class Access:
    """ASGI middleware around all routes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

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
                headers["openai-processing-ms"] = str(round((time.perf_counter() - record.started) * 1000))
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            record.status = CLIENT_LEFT
        except asyncio.CancelledError:
            # Only the server's end cancels this task, which has nothing else to do.
            record.error = "shutdown"
            if not record.status:
                await shutting_down()(scope, receive, send_with_headers)
        except Exception as exc:  # The last handler: a defect is logged and told to nobody else.
            logger.exception("request_id=%s failed", record.request_id)
            record.error = "internal_error"
            if not record.status:
                await error_response(exc)(scope, receive, send_with_headers)
        finally:
            _log(scope, record)


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"


def _log(scope: Scope, record: RequestRecord) -> None:
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode("ascii", "backslashreplace")
    client = scope.get("client")
    fields: dict[str, object] = {
        "request_id": record.request_id,
        "client": client[0] if client else "-",
        "method": scope["method"],
        # As it came over the wire, percent signs and all, so that no path can forge a line.
        "path": raw_path[:200].decode("latin-1"),
        "status": record.status,
        "seconds": round(time.perf_counter() - record.started, 3),
    }
    if record.audio_s is not None:
        fields["audio_seconds"] = round(record.audio_s, 3)
    if record.error is not None:
        fields["error"] = record.error
    quiet = scope["path"].startswith(_QUIET_PATHS) and record.status < 500
    level = logging.DEBUG if quiet else logging.INFO
    logger.log(level, " ".join(f"{name}={value}" for name, value in fields.items()), extra={"fields": fields})
