"""Hundreds of broken files and bodies against one server: each gets an answer, and none leaves a trace."""

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from live_server import DIGITS, LiveServer, live_server, wait_until
from mutations import BadRequest, bad_requests, sound_files

CASES = int(os.environ.get("AURICLE_FUZZ_CASES", "500"))
SEED = int(os.environ.get("AURICLE_FUZZ_SEED", "1"))
WARM_UP = 100
MAX_GROWTH = 300 << 20
"""Of server and engine after the warm-up: what decoders that are used later take, and no more with more cases."""
ANSWER_S = 60
"""Until then each request has its answer, on a busy machine too."""
REFUSALS = {400, 404, 405, 413, 415}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return sound_files(tmp_path_factory.mktemp("sound"))


def send(server: LiveServer, request: BadRequest) -> tuple[int, bytes]:
    """Status and body; status 0 where the server hung up."""
    url = httpx.URL(server.url)
    length = len(request.body) if request.announced is None else request.announced
    head = (
        f"POST {request.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {request.content_type}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    )
    answer = b""
    with socket.create_connection((url.host, url.port), timeout=ANSWER_S) as connection:
        with suppress(ConnectionError):  # It may have said no before it had read all.
            connection.sendall(head.encode("latin-1") + request.body)
            if request.breaks_off:
                # After a whole body, this would say that nobody waits for the answer.
                connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while chunk := connection.recv(65_536):
                answer += chunk
    first, _, rest = answer.partition(b"\r\n")
    return int(first.split()[1]) if first else 0, rest


def ask(server: LiveServer) -> str:
    headers = {"cache-control": "no-store"}
    return httpx.post(
        f"{server.url}/v1/audio/transcriptions", files={"file": DIGITS.read_bytes()}, headers=headers, timeout=ANSWER_S
    ).json()["text"]


def memory_of(process: psutil.Process) -> int:
    """Bytes of the server and its engines."""
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))


def fault(server: LiveServer, request: BadRequest) -> str | None:
    try:
        status, body = send(server, request)
    except TimeoutError:
        return f"{request.label} at {request.path}: no answer"
    if status == 0 and request.breaks_off:
        return None
    # A stream has begun with 200 when it fails.
    is_wrong = status not in {200, *REFUSALS} or (status == 200 and b"server_error" in body)
    return f"{request.label} at {request.path}: {status} {body[-300:]!r}" if is_wrong else None


def check(server: LiveServer, requests: list[BadRequest]) -> None:
    """Send all, some at the same time; fails with all that got an answer they should not have."""
    text = ask(server)
    assert text
    process = psutil.Process(server.process.pid)
    engines = {child.pid for child in process.children(recursive=True)}
    faults: list[str | None] = []
    with ThreadPoolExecutor(4) as pool:
        faults += pool.map(lambda request: fault(server, request), requests[:WARM_UP])
        memory = memory_of(process)
        faults += pool.map(lambda request: fault(server, request), requests[WARM_UP:])
    assert [one for one in faults if one] == []
    wait_until(lambda: server.uploads() == [] and server.health()["requests"] == 0)
    assert memory_of(process) < memory + MAX_GROWTH
    assert engines <= {child.pid for child in process.children(recursive=True)}, "an engine has died"
    assert "Traceback" not in (server.folder / "server.log").read_text()
    assert ask(server) == text


@pytest.mark.timeout(3600)
def test_broken_files_and_forms_are_answered_and_leave_nothing_behind(tmp_path: Path, files: list[bytes]) -> None:
    with live_server(tmp_path, engine="fake", max_upload_mb=2, max_audio_s=120) as server:
        check(server, bad_requests(SEED, CASES, files))


@pytest.mark.timeout(3600)
def test_broken_files_do_no_harm_to_a_real_engine(tmp_path: Path, files: list[bytes]) -> None:
    with live_server(tmp_path, max_upload_mb=2, max_audio_s=120) as server:
        check(server, bad_requests(SEED + 1, max(1, CASES // 8), files))
