"""Errors as HTTP: one table from error class to status; ``envelopes`` has what the answers look like."""

import math
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from auricle import errors
from auricle.server.envelopes import ErrorBody, ErrorType, Failure, answer_failure
from auricle.server.record import record_of

STATUS: dict[type[errors.AuricleError], tuple[int, ErrorType]] = {
    errors.AuricleError: (500, "server_error"),
    errors.InputError: (400, "invalid_request_error"),
    errors.UnsupportedAudio: (415, "invalid_request_error"),
    errors.CorruptAudio: (400, "invalid_request_error"),
    errors.EmptyAudio: (400, "invalid_request_error"),
    errors.InvalidOption: (400, "invalid_request_error"),
    errors.IdempotencyConflict: (409, "invalid_request_error"),
    errors.UnsupportedOption: (400, "invalid_request_error"),
    errors.AudioTooLarge: (413, "invalid_request_error"),
    errors.AudioTooLong: (413, "invalid_request_error"),
    errors.ForbiddenUrl: (400, "invalid_request_error"),
    errors.UrlRefused: (400, "invalid_request_error"),
    errors.UrlUnreachable: (400, "invalid_request_error"),
    errors.Forbidden: (403, "invalid_request_error"),
    errors.InvalidKey: (401, "invalid_request_error"),
    errors.NotFound: (404, "invalid_request_error"),
    errors.ModelNotFound: (404, "invalid_request_error"),
    errors.JobNotFound: (404, "invalid_request_error"),
    errors.Busy: (503, "server_error"),
    errors.QueueFull: (429, "rate_limit_error"),
    errors.RateLimited: (429, "rate_limit_error"),
    errors.MemoryPressure: (503, "server_error"),
    errors.DeadlineExceeded: (504, "server_error"),
    errors.ModelLoading: (503, "server_error"),
    errors.ModelInUse: (409, "invalid_request_error"),
    errors.EngineError: (500, "server_error"),
    errors.EngineNotInstalled: (500, "server_error"),
    errors.EngineFailed: (500, "server_error"),
    errors.EngineOutOfMemory: (503, "server_error"),
    errors.JobError: (500, "server_error"),
    errors.JobNotFinished: (409, "invalid_request_error"),
    errors.JobCancelled: (409, "invalid_request_error"),
    errors.JobKilledEngine: (500, "server_error"),
}

_RETRY_AFTER_S = 2.0
"""Where an error that passes names no time."""
_LONGEST_WAIT_S = 120.0
"""What clients wait before they try again by themselves."""

_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


def describe(exc: Exception) -> tuple[int, ErrorBody]:
    """Status and body for any exception; one that was not raised on purpose tells nothing of the inside."""
    if isinstance(exc, errors.AuricleError):
        status, kind = STATUS[type(exc)]
        return status, ErrorBody(message=exc.message, type=kind, param=exc.param, code=exc.code)
    return 500, ErrorBody(
        message="The server failed to process the request. Its log has the details under the x-request-id of this "
        "response.",
        type="server_error",
        code="internal_error",
    )


def error_response(exc: Exception, scope: Scope | None = None) -> JSONResponse:
    """The answer for any exception, in the envelope of the request's API (OpenAI's where ``scope`` is None), with hints
    for clients that try again by themselves."""
    status, body = describe(exc)
    headers: dict[str, str] = {}
    if isinstance(exc, errors.AuricleError) and status >= 429:
        # The official client repeats 429 and 5xx by itself unless it is told not to. What ran out of time once
        # would only do so again, and it waits no longer than two minutes.
        is_far = isinstance(exc, errors.RateLimited) and (exc.retry_after_s or 0) > _LONGEST_WAIT_S
        headers["x-should-retry"] = str(exc.retryable and status != 504 and not is_far).lower()
    if isinstance(exc, errors.JobNotFinished) or (status in {429, 503} and isinstance(exc, errors.AuricleError)):
        headers["retry-after"] = str(math.ceil(exc.retry_after_s or _RETRY_AFTER_S))
    if isinstance(exc, errors.InvalidKey):
        headers["www-authenticate"] = "Bearer"
    return answer_failure(Failure(status=status, body=body, headers=headers), scope)


def shutting_down(scope: Scope) -> JSONResponse:
    """The answer for a request that the server's end cut off."""
    busy = errors.Busy("The server is shutting down; try again.", retry_after_s=5)
    return error_response(busy, scope)


def install_error_responses(app: FastAPI) -> None:
    """Answer every error of the routes in its API's envelope; the unforeseen ones are left to ``access``."""
    app.add_exception_handler(errors.AuricleError, _on_auricle_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)


async def _on_auricle_error(request: Request, exc: Exception) -> JSONResponse:
    body = describe(exc)[1]
    record_of(request).fail(body.code, body.message, body.param)
    return error_response(exc, request.scope)


async def _on_http_exception(request: Request, exc: Exception) -> JSONResponse:
    if not isinstance(exc, HTTPException):
        raise exc
    phrase = HTTPStatus(exc.status_code).phrase
    message = exc.detail
    if exc.status_code in {404, 405} and message == phrase:
        message = f"{phrase}: {request.method} {request.url.path[:200]}. The routes are listed at /docs."
    kind: ErrorType = "server_error" if exc.status_code >= 500 else "invalid_request_error"
    body = ErrorBody(message=message, type=kind, code=phrase.lower().replace(" ", "_").replace("-", "_"))
    record_of(request).fail(body.code, message)
    headers = {"allow": ", ".join(_allowed(request))} if exc.status_code == 405 else exc.headers or {}
    return answer_failure(Failure(status=exc.status_code, body=body, headers=headers), request.scope)


def _allowed(request: Request) -> list[str]:
    """Methods that some route takes at the path; the error knows those of one route only."""
    routes = request.app.router.routes
    scopes = {method: {**request.scope, "method": method} for method in _METHODS}
    return [name for name, scope in scopes.items() if any(route.matches(scope)[0] is Match.FULL for route in routes)]


async def _on_validation_error(request: Request, exc: Exception) -> JSONResponse:
    if not isinstance(exc, RequestValidationError):
        raise exc
    first = exc.errors()[0]
    param = str(first["loc"][-1]) if first["loc"] else None
    body = ErrorBody(message=f"{param}: {first['msg']}", type="invalid_request_error", param=param)
    record_of(request).fail(errors.InvalidOption.code, body.message, param)
    return answer_failure(Failure(status=400, body=body, headers={}), request.scope)
