"""Errors in the words of the API that a request speaks."""

import json
from http import HTTPStatus
from typing import Any

import pytest

from auricle import errors
from auricle.server.errors import error_response

JSON = "application/json"


def answer(exc: Exception, path: str, content_type: str = "multipart/form-data") -> tuple[int, dict[str, Any], dict]:
    headers = [(b"content-type", content_type.encode())]
    response = error_response(exc, {"type": "http", "path": path, "headers": headers})
    return response.status_code, json.loads(bytes(response.body)), dict(response.headers)


BROKEN = errors.InvalidOption("what was wrong", param="language")


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/v1/audio/transcriptions", JSON),
        ("/v1/audio/transcriptions", "Application/JSON; charset=utf-8"),
        ("/v1/chat/completions", "multipart/form-data"),
        ("/debug/audio-info", JSON),
    ],
)
def test_whisper_api_server_has_the_message_twice(path: str, content_type: str) -> None:
    status, body, _ = answer(BROKEN, path, content_type)
    assert status == 400
    assert body["detail"] == body["error"]["message"] == "what was wrong"
    assert body["error"].keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "kind", [errors.ModelNotFound, errors.AudioTooLarge, errors.UnsupportedAudio, errors.CorruptAudio]
)
def test_whisper_api_server_knows_one_status_for_what_is_wrong_with_a_request(kind: type) -> None:
    assert answer(kind("no"), "/v1/chat/completions")[0] == 400


def test_a_form_for_the_same_path_has_the_envelope_of_openai_alone() -> None:
    assert answer(BROKEN, "/v1/audio/transcriptions")[1].keys() == {"error"}


@pytest.mark.parametrize(
    ("exc", "status"),
    [
        (BROKEN, 400),
        (errors.ModelNotFound("no"), 400),
        (errors.UnsupportedAudio("no"), 400),
        (errors.EngineFailed("no"), 500),
        (errors.DeadlineExceeded("no"), 504),
        (RuntimeError("a defect"), 500),
    ],
)
def test_whisper_server_answers_with_a_text(exc: Exception, status: int) -> None:
    found, body, _ = answer(exc, "/transcribe")
    assert found == status
    assert isinstance(body["error"], str)
    assert body.keys() == {"error"}


@pytest.mark.parametrize(
    ("exc", "status"),
    [
        (BROKEN, 400),
        (errors.AudioTooLarge("no"), 413),
        (errors.UnsupportedAudio("no"), 415),
        (errors.QueueFull("no", retry_after_s=7), 503),
        (errors.MemoryPressure("no"), 503),
        (errors.ModelLoading("no"), 503),
        (errors.RateLimited("no", retry_after_s=1800), 429),
        (errors.InvalidKey("no"), 403),
        (RuntimeError("a defect"), 500),
    ],
)
def test_whisper_api_mvp_answers_with_phrase_and_code(exc: Exception, status: int) -> None:
    found, body, headers = answer(exc, "/v1/transcribe")
    assert found == status
    assert body["error"] == HTTPStatus(status).phrase
    assert body["code"] == status
    assert body["details"]
    assert body.keys() == {"error", "code", "details"}
    assert (headers.get("retry-after") == "30") == (status == 503)
    if status == 429:
        assert headers["retry-after"] == "1800"


@pytest.mark.parametrize("path", ["/tasks", "/status/x", "/status/a/b", "/cancel/x"])
def test_insanely_fast_whisper_answers_with_a_text_and_one_word_for_wrong_keys(path: str) -> None:
    assert answer(BROKEN, path)[:2] == (400, {"detail": "what was wrong"})
    assert answer(errors.InvalidKey("long"), path)[:2] == (401, {"detail": "Unauthorized"})


def test_a_job_that_runs_tells_when_to_ask_again() -> None:
    status, body, headers = answer(errors.JobNotFinished("not yet", retry_after_s=6.2), "/v1/jobs/x/result")
    assert (status, body["error"]["code"], headers["retry-after"]) == (409, "job_not_finished", "7")


@pytest.mark.parametrize(("path", "key"), [("/inference", "error"), ("/asr", "detail"), ("/detect-language", "detail")])
def test_the_neighbours_answer_with_a_text(path: str, key: str) -> None:
    assert answer(BROKEN, path)[:2] == (400, {key: "what was wrong"})
    assert answer(errors.QueueFull("no", retry_after_s=7), path)[2]["retry-after"] == "7"
