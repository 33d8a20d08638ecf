"""The API of "WhisperServer" against a real server."""

import json

import httpx
import pytest
from live_server import DIGITS, MINUTE, SILENCE, LiveServer


def post(server: LiveServer, query: str = "", audio: bytes | None = None) -> httpx.Response:
    files = {"file": ("a.wav", DIGITS.read_bytes() if audio is None else audio)}
    return httpx.post(f"{server.url}/transcribe{query}", files=files, timeout=120)


def test_the_answer_is_the_text(server: LiveServer) -> None:
    answer = post(server, "?model=nano")
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"text"}
    assert answer.json()["text"]
    assert answer.headers["content-type"] == "application/json"


def test_words_come_with_their_times(server: LiveServer) -> None:
    body = post(server, "?words=true&language=en&beam_size=1&temperature=0&vad_filter=true").json()
    assert body.keys() == {"text", "words"}
    assert [word.keys() for word in body["words"]] == [{"word", "start", "end", "probability"}] * len(body["words"])
    starts = [word["start"] for word in body["words"]]
    assert starts == sorted(starts)
    assert " ".join(word["word"] for word in body["words"]) == body["text"]


def test_a_stream_has_a_line_for_each_segment_and_the_result(server: LiveServer) -> None:
    with httpx.stream(
        "POST",
        f"{server.url}/transcribe?stream=true&words=true",
        files={"file": MINUTE.read_bytes()},
        headers={"cache-control": "no-store"},
        timeout=120,
    ) as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        *segments, last = [json.loads(line) for line in answer.iter_lines()]
    assert len(segments) > 1
    assert all(line.keys() == {"segment"} for line in segments)
    assert all(line["segment"].keys() == {"id", "start", "end", "text", "words"} for line in segments)
    assert [line["segment"]["id"] for line in segments] == list(range(len(segments)))
    assert last.keys() == {"result"}
    assert last["result"]["text"] == " ".join(line["segment"]["text"] for line in segments)
    assert last["result"]["words"] == [word for line in segments for word in line["segment"]["words"]]


def test_silence_streams_nothing_but_its_result(server: LiveServer) -> None:
    answer = post(server, "?stream=true", SILENCE.read_bytes())
    assert [json.loads(line) for line in answer.text.splitlines()] == [{"result": {"text": ""}}]


@pytest.mark.parametrize("query", ["", "?stream=true"])
@pytest.mark.parametrize("audio", [b"no audio at all", b"RIFF\0\0\0\0WAVEfmt broken"])
def test_broken_audio_is_a_bad_request(server: LiveServer, query: str, audio: bytes) -> None:
    answer = post(server, query, audio)
    assert answer.status_code == 400
    assert answer.json().keys() == {"error"}
    assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize("query", ["", "stream=true&"])
def test_an_unknown_model_is_a_bad_request(server: LiveServer, query: str) -> None:
    answer = post(server, f"?{query}model=enormous")
    assert answer.status_code == 400
    assert "enormous" in answer.json()["error"]


def test_what_takes_too_long_is_504(server: LiveServer) -> None:
    files = {"file": MINUTE.read_bytes()}
    headers = {"x-auricle-deadline": "0.02", "cache-control": "no-store"}
    answer = httpx.post(f"{server.url}/transcribe", files=files, headers=headers, timeout=60)
    assert (answer.status_code, answer.json().keys()) == (504, {"error"})


def test_a_form_without_a_file_is_a_bad_request(server: LiveServer) -> None:
    answer = httpx.post(f"{server.url}/transcribe", data={"model": "nano"})
    assert answer.status_code == 400
    assert "error" in answer.json()


def test_models_and_status_are_told(server: LiveServer) -> None:
    names = httpx.get(f"{server.url}/models").json()
    assert "nano" in names
    assert all(isinstance(name, str) for name in names)
    assert not {"whisper-1", "tiny"} & set(names), "offline, nothing can be fetched"
    post(server)
    status = httpx.get(f"{server.url}/status").json()
    assert isinstance(status["queue_size"], int)
    assert status["model_usage"]["nano"] >= 1
