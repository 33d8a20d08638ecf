"""More than the server can do: it refuses what it must, answers the rest right, and stays up."""

import asyncio
import os
import signal
import socket
import statistics
import time
from pathlib import Path

import httpx
import psutil
import pytest
from live_server import DIGITS, MINUTE, live_server
from slow_server import PATH, slow_server

FILES = sorted(DIGITS.parent.glob("0[1-7]*.wav"))
NO_STORE = {"cache-control": "no-store"}


async def post(client: httpx.AsyncClient, path: Path) -> httpx.Response:
    return await client.post(PATH, files={"file": path.read_bytes()}, headers=NO_STORE)


async def texts(client: httpx.AsyncClient) -> dict[Path, str]:
    """What each file says, asked for one by one."""
    return {path: (await post(client, path)).json()["text"] for path in FILES}


def patient_client(url: str) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(base_url=url, timeout=240, limits=limits)


async def test_200_requests_at_once_are_answered_right_or_refused_with_a_time(tmp_path: Path) -> None:
    with live_server(tmp_path, max_requests=16) as server:
        async with patient_client(server.url) as client, httpx.AsyncClient(base_url=server.url) as other:
            right = await texts(client)
            load = asyncio.gather(*(post(client, FILES[number % len(FILES)]) for number in range(200)))
            health_s: list[float] = []
            while not load.done():
                began = time.perf_counter()
                assert (await other.get("/health", timeout=60)).status_code == 200
                health_s.append(time.perf_counter() - began)
                await asyncio.sleep(0.01)
            answers = await load
    served = [
        (FILES[number % len(FILES)], answer) for number, answer in enumerate(answers) if answer.status_code == 200
    ]
    refused = [answer for answer in answers if answer.status_code != 200]
    print(  # noqa: T201
        f"{len(served)} served, {len(refused)} refused; /health p50 {statistics.median(health_s) * 1000:.0f} ms, "
        f"p95 {sorted(health_s)[int(0.95 * len(health_s))] * 1000:.0f} ms of {len(health_s)}; slowest refusal "
        f"{max((answer.elapsed.total_seconds() for answer in refused), default=0):.2f} s"
    )
    assert len(served) >= 16
    assert all(answer.json()["text"] == right[path] for path, answer in served)
    for answer in refused:
        assert answer.status_code in {429, 503}
        assert 1 <= int(answer.headers["retry-after"]) <= 600
        assert answer.json()["error"]["code"] in {"queue_full", "memory_pressure"}
    assert health_s


async def test_kill_9_of_the_engine_under_32_requests_loses_none(tmp_path: Path) -> None:
    with live_server(tmp_path) as server:
        async with patient_client(server.url) as client:
            right = await texts(client)
            (engine,) = [
                child
                for child in psutil.Process(server.process.pid).children(recursive=True)
                if "auricle.engines.worker" in child.cmdline()
            ]
            before = server.metric("auricle_windows_total")
            tasks = [asyncio.create_task(post(client, FILES[number % len(FILES)])) for number in range(32)]
            while await asyncio.to_thread(server.metric, "auricle_windows_total") < before + 4:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            os.kill(engine.pid, signal.SIGKILL)
            answers = await asyncio.gather(*tasks)
        assert server.metric("auricle_engine_restarts_total") == 1
    assert [answer.status_code for answer in answers] == [200] * 32
    assert all(answer.json()["text"] == right[FILES[number % len(FILES)]] for number, answer in enumerate(answers))


async def test_audio_beyond_the_queue_is_refused_and_a_short_clip_still_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    minute, clip = MINUTE.read_bytes(), DIGITS.read_bytes()
    async with slow_server(tmp_path, monkeypatch, row_s=0.2, max_queued_audio_s=100) as server:
        first = asyncio.create_task(server.ask(minute))
        await server.wait_for_windows(1)
        refused = await server.ask(minute)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert 1 <= int(refused.headers["retry-after"]) <= 600
        assert "AURICLE_MAX_QUEUED_AUDIO_S" in refused.json()["error"]["message"]
        assert (await server.ask(clip)).status_code == 200
        assert (await first).status_code == 200
        assert server.context.admission.queued_audio_s == 0
        assert (await server.ask(minute)).status_code == 200


async def test_rows_of_a_request_whose_client_left_are_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    minute = MINUTE.read_bytes()
    async with slow_server(tmp_path, monkeypatch, row_s=0.1, max_batch=1) as server:
        request = httpx.Request("POST", server.url + PATH, files={"file": minute}, headers=NO_STORE)
        request.read()
        head = f"POST {PATH} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        _, writer = await asyncio.open_connection(request.url.host, request.url.port)
        writer.write(head.encode() + b"\r\n" + request.content)
        other = asyncio.create_task(server.ask(minute))
        await server.wait_for_windows(4)
        writer.transport.abort()
        assert (await other).status_code == 200
        while server.context.admitted:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        both = server.windows
        await server.ask(minute)
        one = server.windows - both
        # The row that ran when the client left, and the two that may have been decoded for it before.
        assert both <= one + 1 + 2, "of the other request's rows no more are decoded"


async def test_work_past_its_deadline_is_given_up_and_its_rows_are_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with slow_server(tmp_path, monkeypatch, row_s=0.3, max_batch=1) as server:
        late = await server.ask(MINUTE.read_bytes(), x_auricle_deadline="1")
        assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")
        assert late.headers["x-should-retry"] == "false"
        after = server.windows
        await server.ask(DIGITS.read_bytes())
        assert server.windows - after <= 1 + 2, "the row that ran, and those of the clip"


def test_a_body_that_never_comes_holds_a_place_only_until_its_sender_leaves(tmp_path: Path) -> None:
    with live_server(tmp_path, max_requests=1) as server:
        url = httpx.URL(server.url)
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
        with socket.create_connection((url.host, url.port or 80)) as connection:
            connection.sendall(f"{head}Content-Type: multipart/form-data; boundary=XX\r\n\r\n".encode())
            while server.health()["requests"] == 0:
                time.sleep(0.01)
            answer = httpx.post(server.url + PATH, files={"file": DIGITS.read_bytes()})
            assert answer.status_code == 429
        while server.health()["requests"]:
            time.sleep(0.01)
        assert httpx.post(server.url + PATH, files={"file": DIGITS.read_bytes()}, timeout=60).status_code == 200
