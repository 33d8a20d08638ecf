"""The one place that every request passes before any route: who asks, from where, and with which key.

What is refused here is refused before its body is read.
"""

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auricle.config import Settings
from auricle.errors import AuricleError, InvalidKey
from auricle.server.accounts import Accounts
from auricle.server.auth import Principal
from auricle.server.errors import error_response
from auricle.server.limits import Quota
from auricle.server.record import record_of
from auricle.server.security import check_browser, check_host, is_local

_PUBLIC = {"/health", "/health/live", "/health/ready", "/docs", "/openapi.json"}
"""Answered without a key; the first says little then."""
_PUBLIC_FOLDER = "/docs/assets/"
_POLICY_VIOLATION = 1008


class Gate:
    """ASGI middleware, inside of the one that logs and outside of all routes."""

    def __init__(self, app: ASGIApp, *, accounts: Accounts, settings: Settings) -> None:
        self._app = app
        self._accounts = accounts
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        try:
            principal = self._identify(connection)
        except AuricleError as exc:
            await _refuse(exc, connection, receive, send)
            return
        quota = Quota(self._accounts.limits, principal.owner, principal.rates)
        scope["auricle.principal"] = principal
        if scope["type"] == "http":
            record_of(connection).owner = principal.owner or None
        scope["auricle.quota"] = quota

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(quota.headers())
            await send(message)

        try:
            await self._app(scope, receive, send_with_limits)
        finally:
            if scope["type"] == "http":
                self._account(connection, principal, quota)

    def _identify(self, connection: HTTPConnection) -> Principal:
        """Raises InvalidKey, and Forbidden for what must not be asked from there at all."""
        keyring, settings = self._accounts.keyring, self._settings
        check_host(connection, settings.trusted_hosts, host=settings.host, has_keys=keyring.is_required)
        if not keyring.is_required:
            # A key is what a page of elsewhere does not have; without keys the browser's word must do.
            check_browser(connection, settings.cors_origins)
            return Principal(is_admin=settings.allow_model_admin or is_local(connection))
        principal = keyring.find(connection.headers)
        if principal is not None:
            return principal
        if _is_public(connection.scope):
            return Principal(name="guest", is_guest=True)
        raise InvalidKey(
            "A valid key is needed: `Authorization: Bearer KEY` or `x-api-key: KEY`. It is missing, not known, has "
            "expired, or was revoked."
        )

    def _account(self, connection: HTTPConnection, principal: Principal, quota: Quota) -> None:
        record = record_of(connection)
        quota.settle(record.audio_s)
        if principal.owner and quota.is_metered:
            has_failed = record.error is not None or not 100 <= record.status < 400
            self._accounts.usage.add(
                principal.owner, requests=quota.requests, audio_s=record.audio_s or 0.0, errors=int(has_failed)
            )


def _is_public(scope: Scope) -> bool:
    if scope["type"] != "http":
        return False
    path = scope["path"]
    return scope["method"] == "OPTIONS" or path in _PUBLIC or path.startswith(_PUBLIC_FOLDER)


async def _refuse(exc: AuricleError, connection: HTTPConnection, receive: Receive, send: Send) -> None:
    scope = connection.scope
    if scope["type"] == "websocket":
        # Before it is accepted, this is an answer with status 403.
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        return
    record_of(connection).fail(exc.code, exc.message)
    await error_response(exc, scope)(scope, receive, send)
