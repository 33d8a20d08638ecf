import json

import pytest

from auricle import errors
from auricle.server.errors import STATUS, error_response


def all_error_classes(root: type[errors.AuricleError] = errors.AuricleError) -> list[type[errors.AuricleError]]:
    return [root, *(found for child in root.__subclasses__() for found in all_error_classes(child))]


def body_of(exc: Exception) -> dict:
    return json.loads(bytes(error_response(exc).body))["error"]


def test_every_error_class_has_a_status() -> None:
    assert set(STATUS) == set(all_error_classes())


@pytest.mark.parametrize("kind", all_error_classes())
def test_every_error_comes_in_the_envelope(kind: type[errors.AuricleError]) -> None:
    response = error_response(kind("what went wrong", param="file"))
    status, error_type = STATUS[kind]
    assert response.status_code == status
    assert body_of(kind("what went wrong", param="file")) == {
        "message": "what went wrong",
        "type": error_type,
        "param": "file",
        "code": kind.code,
    }
    assert (error_type == "invalid_request_error") == (status < 429)


def test_an_unforeseen_error_tells_nothing_of_the_inside() -> None:
    body = body_of(RuntimeError("password in /etc/secret"))
    assert "secret" not in json.dumps(body)
    assert body["type"] == "server_error"


@pytest.mark.parametrize("kind", [errors.QueueFull, errors.ModelLoading, errors.MemoryPressure])
def test_what_passes_says_when_to_try_again(kind: type[errors.AuricleError]) -> None:
    assert error_response(kind("busy", retry_after_s=6.2)).headers["retry-after"] == "7"
    assert int(error_response(kind("busy")).headers["retry-after"]) > 0
    assert error_response(kind("busy")).headers["x-should-retry"] == "true"


@pytest.mark.parametrize("kind", [errors.DeadlineExceeded, errors.EngineNotInstalled])
def test_clients_are_told_not_to_repeat_what_would_fail_again(kind: type[errors.AuricleError]) -> None:
    assert error_response(kind("no")).headers["x-should-retry"] == "false"


def test_a_callers_mistake_has_no_retry_headers() -> None:
    headers = error_response(errors.InvalidOption("no")).headers
    assert "retry-after" not in headers
    assert "x-should-retry" not in headers
