"""What schemathesis is taught about this API; it loads this file by the name in SCHEMATHESIS_HOOKS."""

import base64
from typing import Any

import schemathesis
from live_server import SAMPLES

AUDIO = (SAMPLES / "01_en_slt.wav").read_bytes()[:40_000]
"""A bit more than a second; a broken length in its header does no harm."""
_BASE64 = base64.b64encode(AUDIO).decode()
_KNOWN = {400, 401, 403, 404, 405, 408, 409, 413, 415, 429, 503, 504}
"""Statuses of errors that the documentation of the API tells of; none says that the server is broken."""
_PASSING = {429, 503}
_NOWHERE = "http://127.0.0.1:9/talk.mp3"
_calls = 0


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: schemathesis.Case, _kwargs: dict[str, Any]) -> None:
    """Put real audio in place of made-up bytes for two calls of three, or no case would get beyond the decoder."""
    global _calls  # noqa: PLW0603  the hook has no other memory
    _calls += 1
    case.body = _without_hosts(case.body)
    if _calls % 3 == 0 or not isinstance(case.body, dict):
        return
    body: dict[str, Any] = case.body
    for name in [name for name, value in body.items() if value is None]:
        del body[name]  # a form would hold the word
    for name, audio in (("file", AUDIO), ("audio_file", AUDIO), ("audio", _BASE64)):
        if isinstance(body.get(name), bytes | str):
            body[name] = audio


def _without_hosts(value: Any) -> Any:
    """With addresses that lead nowhere in place of those of other machines, which a test must not trouble."""
    if isinstance(value, dict):
        return {name: _without_hosts(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_hosts(one) for one in value]
    return _NOWHERE if isinstance(value, str) and "://" in value else value


@schemathesis.check
def errors_are_known(
    _context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """No error but those that are documented; clients are told when to come back where that helps."""
    status = response.status_code
    assert status < 400 or status in _KNOWN, f"status {status} is not documented"
    assert status not in _PASSING or "retry-after" in response.headers, f"status {status} without Retry-After"
    assert status != 504 or _has_deadline(case), "late, though the request names no deadline"


@schemathesis.check
def allowed_methods_are_named(
    _context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """All that the path documents are in ``Allow``, and the one refused is not."""
    if response.status_code == 405:
        allowed = set(response.headers["allow"][0].split(", "))
        documented = {method.upper() for method in case.operation.schema[case.operation.path]}
        assert documented <= allowed, f"{sorted(documented - allowed)} missing"
        assert str(response.request.method) not in allowed


def _has_deadline(case: schemathesis.Case) -> bool:
    in_form = isinstance(case.body, dict) and "deadline_s" in case.body
    return in_form or "x-auricle-deadline" in {name.lower() for name in case.headers or {}}
