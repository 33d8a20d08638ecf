"""JSON with audio in base64, as clients of "Whisper API Server" send it, against a real server."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from live_server import DIGITS, LiveServer, live_server, wait_until
from openai import OpenAI

from auricle.audio.decode import decode_audio
from media import CONTAINERS, encode

TRANSCRIPTIONS = "/v1/audio/transcriptions"
CHAT = "/v1/chat/completions"
DATA = base64.b64encode(DIGITS.read_bytes()).decode()


@pytest.fixture(autouse=True)
def _goes_on(server: LiveServer) -> Iterator[None]:
    yield
    assert server.health()["ready"]
    wait_until(lambda: server.uploads() == [] and server.health()["requests"] == 0)


def post(server: LiveServer, path: str, body: object) -> httpx.Response:
    return httpx.post(server.url + path, json=body, timeout=60)


def refused(answer: httpx.Response) -> str:
    """The text, which must be where both kinds of clients look for it."""
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert isinstance(body["detail"], str)
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert body["error"]["message"] == body["detail"]
    return body["detail"]


def test_the_app_posts_json_and_reads_the_text(server: LiveServer) -> None:
    answer = post(server, TRANSCRIPTIONS, {"model": "whisper-1", "audio": DATA})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body.keys() == {"text", "processing_time", "model", "format"}
    assert (body["model"], body["format"]) == ("whisper-1", "wav")
    assert body["text"]
    assert 0 < body["processing_time"] < 60
    with DIGITS.open("rb") as file:
        form = httpx.post(server.url + TRANSCRIPTIONS, files={"file": file}, timeout=60).json()
    assert form["text"] == body["text"]
    assert form.keys() == {"text", "languages", "usage"}, "a form has OpenAI's answer"


@pytest.mark.parametrize("path", [TRANSCRIPTIONS, CHAT])
@pytest.mark.parametrize(
    "where",
    [
        {"audio": DATA},
        {"audio": f"data:audio/wav;base64,{DATA}"},
        {"audio": "\r\n".join(DATA[start : start + 76] for start in range(0, len(DATA), 76))},
        {"audio_options": {"data": DATA}},
        {"messages": [{"role": "user", "content": [{"type": "audio", "inputAudio": {"data": DATA}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": DATA}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "?"}, {"type": "audio", "data": DATA}]}]},
        {"messages": [{"role": "system", "content": "Write."}, {"role": "user", "content": {"data": DATA}}]},
        {"audio": {"voice": "alloy"}, "messages": [{"content": [{"input_audio": {"data": DATA}}]}]},
    ],
)
def test_the_audio_is_found_in_all_places(server: LiveServer, path: str, where: dict) -> None:
    answer = post(server, path, {"model": "nano", "language": "auto"} | where)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["text"]
    assert {"processing_time", "model", "format"} <= body.keys()
    assert ("choices" in body) == (path == CHAT and "messages" in where)


def test_the_official_client_gets_a_chat_completion(client: OpenAI) -> None:
    audio = {"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}}
    answer = client.chat.completions.create(
        model="whisper-1",
        messages=[{"role": "user", "content": [audio]}],  # type: ignore[typeddict-item]
    )
    (choice,) = answer.choices
    assert (answer.object, answer.model) == ("chat.completion", "whisper-1")
    assert (choice.finish_reason, choice.message.role) == ("stop", "assistant")
    assert choice.message.content
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    extra = answer.model_extra or {}
    assert extra["text"] == choice.message.content
    assert extra["format"] == "wav"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "Audio data is required"),
        ({"audio": None, "messages": []}, "Audio data is required"),
        ({"audio": ""}, "Audio data is required"),
        ({"messages": [{"content": "Hello"}]}, "Audio data is required"),
        ({"audio": 5}, "Invalid audio data format"),
        ({"audio": [DATA]}, "Invalid audio data format"),
        ({"audio_options": {"data": {"a": 1}}}, "Invalid audio data format"),
        ({"audio": "!!! not base64 !!!"}, "Invalid base64 encoding"),
        ({"audio": DATA[:-3]}, "Invalid base64 encoding"),
        ({"audio": "ü" * 4000}, "Invalid base64 encoding"),
        ({"audio": "data:audio/wav;base64"}, "Audio file too small. Minimum size is 1KB"),
        ({"audio": "AAAA"}, "Audio file too small. Minimum size is 1KB"),
    ],
)
@pytest.mark.parametrize("path", [TRANSCRIPTIONS, CHAT, "/debug/audio-info"])
def test_what_is_wrong_with_the_audio_is_told_in_known_words(
    server: LiveServer, path: str, body: dict, text: str
) -> None:
    assert refused(post(server, path, body)) == text


@pytest.mark.parametrize("path", [TRANSCRIPTIONS, CHAT])
def test_other_mistakes_are_bad_requests_too(server: LiveServer, path: str) -> None:
    assert "whisper-9" in refused(post(server, path, {"model": "whisper-9", "audio": DATA}))
    noise = base64.b64encode(b"This is no audio at all. " * 100).decode()
    assert "not an audio" in refused(post(server, path, {"audio": noise}))
    assert "klingon" in refused(post(server, path, {"audio": DATA, "language": "klingon"}))
    assert "model" in refused(post(server, path, {"audio": DATA, "model": 7}))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b"{'audio': 'x'}",
        b'{"audio": NaN}',
        b'{"audio": ' + b"9" * 10_000 + b"}",
        b'{"audio": "\\ud800"}',
        b'{"model": "\\udfff\\ud800", "audio": "AAAA"}',
        b'{"model": "a\\u0000b", "audio": "' + DATA.encode() + b'"}',
        b'{"audio": "\xff\xfe"}',
        b"[" * 100_000,
        b'{"messages": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"messages": ' + b'[{"content": ' * 150 + b"1" + b"}]" * 150 + b"}",
        json.dumps({"messages": [[], 1, None, {"content": [1, [], None, {"data": 3}]}]}).encode(),
        json.dumps({"audio_options": "x", "messages": {"content": 5}}).encode(),
        json.dumps({"language": ["de"], "audio": DATA}).encode(),
        json.dumps({"prompt": {"a": 1}, "audio": DATA}).encode(),
        json.dumps({"prompt": "x" * 20_000, "audio": DATA}).encode(),
    ],
)
@pytest.mark.parametrize("path", [TRANSCRIPTIONS, CHAT, "/debug/audio-info"])
def test_malformed_json_is_a_bad_request(server: LiveServer, path: str, raw: bytes) -> None:
    headers = {"content-type": "application/json; charset=utf-8"}
    answer = httpx.post(server.url + path, content=raw, headers=headers, timeout=60)
    if path != "/debug/audio-info" or answer.status_code != 200:
        assert refused(answer)


def test_the_size_can_be_asked_without_a_transcript(server: LiveServer) -> None:
    answer = post(server, "/debug/audio-info", {"audio": DATA, "model": "whisper-small"})
    size = DIGITS.stat().st_size
    assert answer.json() == {
        "audio_size_bytes": size,
        "audio_size_mb": round(size / (1 << 20), 2),
        "base64_length": len(DATA),
        "model": "whisper-small",
        "language": "auto",
    }


def test_other_bodies_and_methods_find_the_same_path(server: LiveServer) -> None:
    headers = {"content-type": "application/json"}
    assert httpx.get(server.url + TRANSCRIPTIONS, headers=headers).status_code == 405
    text = httpx.post(server.url + TRANSCRIPTIONS, content=b"x", headers={"content-type": "text/plain"})
    assert text.status_code == 400
    assert text.json().keys() == {"error"}


def test_it_listens_where_its_variables_say_and_is_healthy(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("healthy")
    with live_server(
        folder, health_status="healthy", compat_env="whisper-api-server", model_aliases="tiny=nano"
    ) as own:
        health = own.health()
        assert health["status"] == "healthy"
        assert isinstance(health["service"], str)
        answer = post(own, TRANSCRIPTIONS, {"model": "whisper-tiny", "audio": DATA})
        assert (answer.status_code, answer.json()["model"]) == (200, "whisper-tiny")


@pytest.mark.parametrize("name", ["mp3", "m4a", "flac", "ogg", "opus", "webm"])
def test_the_format_is_that_of_the_bytes(server: LiveServer, tmp_path: Path, name: str) -> None:
    samples = np.concatenate(list(decode_audio(DIGITS)))
    path = encode(samples, tmp_path / "audio", CONTAINERS[name])
    answer = post(server, TRANSCRIPTIONS, {"audio": base64.b64encode(path.read_bytes()).decode()})
    assert answer.status_code == 200, answer.text
    assert answer.json()["format"] == CONTAINERS[name].suffix.replace("opus", "ogg")


def test_a_chat_cannot_be_streamed(server: LiveServer) -> None:
    chat = {"messages": [{"role": "user", "content": {"data": DATA}}], "stream": True}
    assert "stream" in refused(post(server, CHAT, chat))
    assert post(server, TRANSCRIPTIONS, {"audio": DATA, "stream": True}).status_code == 200
