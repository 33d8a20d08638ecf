"""What an error looks like on the wire: OpenAI's envelope, or that of another API, by the path of the request."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.types import Scope

from auricle.server.json_body import has_json_body

ErrorType = Literal["invalid_request_error", "rate_limit_error", "server_error"]


class ErrorBody(BaseModel):
    """What went wrong, in the words of OpenAI's API."""

    message: str
    type: ErrorType
    param: str | None = None
    code: str | None = None


class ErrorEnvelope(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorBody


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error as HTTP, before an envelope is chosen."""

    status: int
    body: ErrorBody
    headers: Mapping[str, str]


Envelope = Callable[[Failure], JSONResponse]


def answer_failure(failure: Failure, scope: Scope | None = None) -> JSONResponse:
    """The answer in the envelope of the API that the request speaks, OpenAI's where no request is known."""
    return (openai_envelope if scope is None else _envelope_for(scope))(failure)


def openai_envelope(failure: Failure) -> JSONResponse:
    """``{error: {message, type, param, code}}``."""
    return _json(failure, ErrorEnvelope(error=failure.body).model_dump())


def _envelope_for(scope: Scope) -> Envelope:
    path = scope["path"]
    if path == "/v1/audio/transcriptions" and has_json_body(scope):
        return _whisper_api_server
    if path == "/" and scope.get("method") != "POST":  # the page
        return openai_envelope
    by_folder = (envelope for folder, envelope in _BY_FOLDER.items() if path.startswith(folder))
    return _BY_PATH.get(path) or next(by_folder, openai_envelope)


def _whisper_api_server(failure: Failure) -> JSONResponse:
    """OpenAI's envelope and the message again as ``detail``; whatever is wrong with a request has status 400."""
    body = ErrorEnvelope(error=failure.body).model_dump() | {"detail": failure.body.message}
    return _json(failure, body, status=400 if failure.status in {404, 413, 415} else failure.status)


def _whisper_server(failure: Failure) -> JSONResponse:
    """``{error: text}``; an unknown model and what is not audio have status 400."""
    return _json(
        failure, {"error": failure.body.message}, status=400 if failure.status in {404, 415} else failure.status
    )


def _whisper_api_mvp(failure: Failure) -> JSONResponse:
    """``{error: phrase, code: status, details: text}``; a busy server is always 503 with the same time to wait."""
    status = {"queue_full": 503, "invalid_api_key": 403}.get(failure.body.code or "", failure.status)
    headers = dict(failure.headers) | ({"retry-after": "30"} if status == 503 else {})
    body = {"error": HTTPStatus(status).phrase, "code": status, "details": failure.body.message}
    return JSONResponse(body, status, headers)


def _whisper_cpp(failure: Failure) -> JSONResponse:
    """``{error: text}``."""
    return _json(failure, {"error": failure.body.message})


def _asr_webservice(failure: Failure) -> JSONResponse:
    """``{detail: text}``."""
    return _json(failure, {"detail": failure.body.message})


def _insanely_fast_whisper(failure: Failure) -> JSONResponse:
    """``{detail: text}``; whoever has no valid key hears the one word that these clients know."""
    message = "Unauthorized" if failure.status == 401 else failure.body.message
    return _json(failure, {"detail": message})


_BY_PATH: dict[str, Envelope] = {
    "/": _insanely_fast_whisper,
    "/tasks": _insanely_fast_whisper,
    "/v1/chat/completions": _whisper_api_server,
    "/debug/audio-info": _whisper_api_server,
    "/transcribe": _whisper_server,
    "/v1/transcribe": _whisper_api_mvp,
    "/inference": _whisper_cpp,
    "/asr": _asr_webservice,
    "/detect-language": _asr_webservice,
}

_BY_FOLDER: dict[str, Envelope] = {"/status/": _insanely_fast_whisper, "/cancel/": _insanely_fast_whisper}
"""Paths with a name behind them."""


def _json(failure: Failure, body: dict[str, Any], *, status: int | None = None) -> JSONResponse:
    return JSONResponse(body, status or failure.status, dict(failure.headers))


def error_example(path: str) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: the answer to a request that the route ``path`` refuses."""
    body = ErrorBody(message="What was wrong.", type="invalid_request_error", param="file", code="invalid_option")
    envelope = _BY_PATH.get(path) or _BY_FOLDER[path]
    answer = envelope(Failure(status=400, body=body, headers={}))
    example = json.loads(bytes(answer.body))
    schema = {
        "type": "object",
        "required": list(example),
        "properties": {name: _SCHEMAS[type(value)] for name, value in example.items()},
    }
    content = {"application/json": {"schema": schema, "example": example}}
    return {"default": {"description": "Any error", "content": content}}


_SCHEMAS: dict[type, dict[str, str]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    dict: {"$ref": "#/components/schemas/ErrorBody"},
}
"""Of what stands in an envelope."""
