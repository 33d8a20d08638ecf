"""The server as a process: clients that leave, signals, and what is left behind."""

import signal
import socket
import threading
from pathlib import Path

import httpx
import psutil
from live_server import DIGITS, MINUTE, LiveServer, live_server, wait_until

PATH = "/v1/audio/transcriptions"
SLOW = {"beam_size": "16", "vad": "false", "response_format": "verbose_json"}
"""Decoded in sequence with a wide beam: a minute of audio takes long enough to interfere."""


def test_a_client_that_leaves_frees_its_rows(server: LiveServer) -> None:
    cancelled = server.metric('auricle_requests_total{status="cancelled"}')
    request = httpx.Request("POST", server.url + PATH, data=SLOW, files={"file": MINUTE.read_bytes()})
    request.read()
    head = f"POST {PATH} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection((request.url.host, request.url.port)) as connection:
        connection.sendall(head.encode() + b"\r\n" + request.content)
        wait_until(lambda: server.health()["requests"] == 1)
    wait_until(lambda: server.health()["requests"] == 0)
    assert server.metric('auricle_requests_total{status="cancelled"}') == cancelled + 1
    assert server.metric("auricle_queue_rows") == 0
    assert server.uploads() == []


def test_sixteen_different_requests_at_once_get_their_own_answers(server: LiveServer) -> None:
    files = sorted(path for path in DIGITS.parent.glob("0[1-7]*.wav"))

    def ask(path: Path) -> str:
        answer = httpx.post(server.url + PATH, files={"file": path.read_bytes()}, timeout=120)
        return answer.json()["text"]

    alone = {path: ask(path) for path in files}
    answers: list[tuple[Path, str]] = []
    threads = [
        threading.Thread(target=lambda path=path: answers.append((path, ask(path)))) for path in (files * 3)[:16]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 16
    assert all(alone[path] == text for path, text in answers)


def test_sigterm_lets_running_requests_finish_refuses_new_ones_and_ends_with_zero(tmp_path: Path) -> None:
    with live_server(tmp_path) as server:
        engines = psutil.Process(server.process.pid).children(recursive=True)
        assert engines
        answers: list[httpx.Response] = []

        def ask() -> None:
            answers.append(httpx.post(server.url + PATH, data=SLOW, files={"file": MINUTE.read_bytes()}, timeout=120))

        asking = threading.Thread(target=ask)
        asking.start()
        wait_until(lambda: server.health()["requests"] == 1)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not accepts(server) or answers)
        assert answers == []
        asking.join()
        assert answers[0].status_code == 200
        assert "Toronto" in answers[0].text
        assert server.process.wait(30) == 0
        assert not any(engine.is_running() and engine.status() != "zombie" for engine in engines)
        assert server.uploads() == []


def accepts(server: LiveServer) -> bool:
    try:
        httpx.get(f"{server.url}/health/live")
    except httpx.TransportError:
        return False
    return True


def test_a_default_model_that_cannot_be_had_leaves_the_server_up(tmp_path: Path) -> None:
    with live_server(tmp_path, model="tiny", wait_for_ready=False) as server:
        wait_until(lambda: server.health()["error"])
        assert server.health()["ready"] is False
        assert "tiny" in server.health()["error"]
        answer = httpx.post(server.url + PATH, files={"file": DIGITS.read_bytes()}, timeout=60)
        assert answer.status_code == 404
        named = httpx.post(server.url + PATH, files={"file": DIGITS.read_bytes()}, data={"model": "nano"}, timeout=60)
        assert "seven" in named.json()["text"]


def test_an_address_in_use_is_a_clear_error(server: LiveServer, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    with live_server(tmp_path, port=port, wait_for_ready=False, must_start=False) as second:
        assert second.process.wait(30) != 0
    assert f"cannot listen on 127.0.0.1:{port}" in (tmp_path / "server.log").read_text()
