"""The API of "Whisper API MVP" against a real server."""

import json
from http import HTTPStatus
from pathlib import Path

import httpx
import numpy as np
import pytest
from live_server import DIGITS, LiveServer, live_server

from auricle.audio.decode import decode_audio
from auricle.types import Samples
from media import CONTAINERS, encode

PATH = "/v1/transcribe"


def speech() -> Samples:
    return np.concatenate(list(decode_audio(DIGITS)))


def post(server: LiveServer, audio: bytes, **options) -> httpx.Response:
    return httpx.post(server.url + PATH, files={"file": ("a.wav", audio)}, timeout=60, **options)


def refused(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body.keys() == {"error", "code", "details"}
    assert (body["error"], body["code"]) == (HTTPStatus(status).phrase, status)
    return body["details"]


def test_the_answer_is_the_text(server: LiveServer) -> None:
    answer = post(server, DIGITS.read_bytes())
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"text"}
    assert answer.json()["text"]


def test_errors_have_a_phrase_a_code_and_details(server: LiveServer) -> None:
    assert "not an audio" in refused(post(server, b"<html></html>"), 415)
    assert "empty" in refused(post(server, b""), 400)
    assert "2 MiB" in refused(post(server, bytes(5 << 20)), 413)
    assert "'file'" in refused(httpx.post(server.url + PATH, data={"x": "y"}, files={"other": b"x"}), 400)
    assert "language" in refused(post(server, DIGITS.read_bytes(), data={"language": "klingon"}), 400)
    assert refused(httpx.get(server.url + PATH), 405)
    assert refused(httpx.post(server.url + PATH, json={"file": "x"}), 400)


@pytest.mark.parametrize("name", ["mp3", "wav_16bit", "m4a", "flac", "webm", "mp4_video"])
def test_formats_are_known_by_their_bytes(server: LiveServer, tmp_path: Path, name: str) -> None:
    path = encode(speech(), tmp_path / "audio", CONTAINERS[name])
    answer = httpx.post(server.url + PATH, files={"file": ("a.txt", path.read_bytes(), "text/plain")}, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["text"]


def test_a_busy_server_says_503_and_when_to_come_back(tmp_path: Path) -> None:
    with live_server(tmp_path, max_memory_percent=0.001) as busy:
        answer = post(busy, DIGITS.read_bytes())
        refused(answer, 503)
        assert answer.headers["retry-after"] == "30"


def test_who_does_not_come_through_the_proxy_gets_403(tmp_path: Path) -> None:
    with live_server(tmp_path, wait_for_ready=False, rapidapi_proxy_secret="s" * 32) as guarded:
        refused(post(guarded, DIGITS.read_bytes()), 403)
        refused(post(guarded, DIGITS.read_bytes(), headers={"X-RapidAPI-Proxy-Secret": "wrong"}), 403)
        headers = {"X-RapidAPI-Proxy-Secret": "s" * 32, "X-RapidAPI-User": "somebody"}
        answer = post(guarded, DIGITS.read_bytes(), headers=headers)
        assert answer.status_code == 200, answer.text


def test_health_and_metrics_have_the_known_keys(server: LiveServer) -> None:
    post(server, DIGITS.read_bytes())
    health = server.health()
    assert health["status"] == "ok"
    assert 0 < health["memory_percent"] <= 100
    assert health["active_tasks"] == 0
    metrics = httpx.get(f"{server.url}/metrics", headers={"accept": "application/json"}).json()
    assert metrics.keys() == {"total_requests", "accepted_requests", "rejected_requests", "avg_processing_time_ms"}
    assert metrics["accepted_requests"] >= 1
    assert metrics["avg_processing_time_ms"] > 0


def test_a_request_is_one_line_of_the_log(tmp_path: Path) -> None:
    with live_server(tmp_path, log_format="json") as logged:
        post(logged, DIGITS.read_bytes())
        post(logged, b"<html></html>")
    lines = [json.loads(line) for line in (tmp_path / "server.log").read_text().splitlines()]
    good, bad = [line for line in lines if line.get("path") == PATH]
    keys = {"request_id", "timestamp", "processing_time_ms", "status", "file_size_bytes", "client_ip", "audio_hash"}
    assert keys | {"error_message"} <= good.keys()
    assert (good["status"], good["error_message"], good["file_size_bytes"]) == (200, None, DIGITS.stat().st_size)
    assert (bad["status"], bool(bad["error_message"])) == (415, True)
