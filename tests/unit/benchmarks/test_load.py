"""The load benchmarks: their clients against a small server, their plans and their figures."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from benchmarks.load import count_after, fair_rate
from benchmarks.load_limits import is_refusal, is_right
from benchmarks.loadgen import (
    Answer,
    Caller,
    Script,
    encode_request,
    play,
    read_script,
    read_traffic,
)
from benchmarks.serving import check, latencies, percentile, plan_load

Handle = Callable[[str, bytes], tuple[int, str]]


@asynccontextmanager
async def small_server(handle: Handle, delay_s: float = 0.0) -> AsyncIterator[str]:
    """``handle`` gets the client's address and the body, and gives the status and the text."""

    serving: set[asyncio.Task | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        try:
            await reply(reader, writer)
        except ConnectionError:
            pass  # a client that has given up
        finally:
            writer.close()

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((line for line in head.lower().split("\r\n") if line.startswith("content-length")), ":0")
        body = await reader.readexactly(int(length.split(":")[1]))
        await asyncio.sleep(delay_s)
        status, text = handle(writer.get_extra_info("peername")[0], body)
        answer = json.dumps({"text": text}).encode()
        headers = f"Content-Length: {len(answer)}\r\nRetry-After: 3\r\nOpenAI-Processing-MS: 7"
        writer.write(f"HTTP/1.1 {status} x\r\n{headers}\r\n\r\n".encode() + answer)
        await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.gather(*(task for task in serving if task))
        await asyncio.sleep(0)  # the transports close in the next turn


def answer(**values: Any) -> Answer:
    base = Answer(caller="a", file="f", status=200, start_s=1.0, seconds=0.5, text="some words")
    return replace(base, **values)


@pytest.fixture
def clip(tmp_path: Path) -> str:
    path = tmp_path / "clip.flac"
    path.write_bytes(b"not\r\n\r\naudio")
    return str(path)


async def test_callers_are_told_apart_by_their_address(clip: str):
    seen: list[str] = []

    def handle(address: str, body: bytes) -> tuple[int, str]:
        assert b"not\r\n\r\naudio" in body
        seen.append(address)
        return 200, "heard"

    async with small_server(handle) as url:
        callers = (
            Caller(name="large", files=(clip,) * 3, connections=2),
            Caller(name="small", files=(clip,), connections=1, address="127.0.0.2"),
        )
        traffic = await play(Script(url=url, callers=callers))

    assert sorted(seen) == ["127.0.0.1"] * 3 + ["127.0.0.2"]
    assert len(traffic.of("large")) == 3
    (small,) = traffic.of("small")
    assert (small.text, small.server_ms, small.retry_after) == ("heard", 7.0, "3")


async def test_no_more_requests_are_in_flight_than_there_are_connections(clip: str):
    async with small_server(lambda *_: (200, ""), delay_s=0.02) as url:
        traffic = await play(Script(url=url, callers=(Caller(name="a", files=(clip,) * 9, connections=3),)))

    at_once = [sum(other.start_s <= one.start_s < other.end_s for other in traffic.answers) for one in traffic.answers]
    assert len(at_once) == 9
    assert max(at_once) <= 3


async def test_what_is_in_flight_when_the_time_is_over_is_given_up(clip: str):
    async with small_server(lambda *_: (200, ""), delay_s=0.5) as url:
        caller = Caller(name="a", files=(clip,) * 9, connections=2)
        traffic = await play(Script(url=url, callers=(caller,), limit_s=0.1))

    assert [one.status for one in traffic.answers] == [0, 0]
    assert traffic.wall_s == 0.1


async def test_all_end_with_the_caller_that_is_waited_for(clip: str):
    async with small_server(lambda *_: (200, ""), delay_s=0.01) as url:
        callers = (
            Caller(name="endless", files=(clip,) * 5000, connections=1),
            Caller(name="few", files=(clip,) * 3, connections=1),
        )
        traffic = await play(Script(url=url, callers=callers, until="few", health_s=0.01))

    assert len(traffic.of("few")) == 3
    assert len(traffic.of("endless")) < 100
    assert traffic.health_s


async def test_a_refusal_is_an_answer_and_a_failure_is_told(clip: str):
    async with small_server(lambda *_: (429, "full")) as url:
        traffic = await play(Script(url=url, callers=(Caller(name="a", files=(clip,), connections=1),)))

    assert is_refusal(traffic.answers[0])
    with pytest.raises(RuntimeError, match="429"):
        check(traffic)


async def test_a_server_that_is_not_there_is_an_error(clip: str):
    async with small_server(lambda *_: (200, "")) as url:
        pass
    with pytest.raises(ExceptionGroup) as error:
        await play(Script(url=url, callers=(Caller(name="a", files=(clip,), connections=1),)))
    assert error.group_contains(OSError)


def test_a_request_is_whole(clip: str):
    caller = Caller(name="a", files=(clip,), connections=1, fields={"beam_size": "1"}, headers={"x-one": "two"})
    head, _, body = encode_request("host", caller, clip).partition(b"\r\n\r\n")

    assert head.startswith(b"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: host\r\n")
    assert b"\r\nx-one: two" in head
    assert f"content-length: {len(body)}".encode() in head
    assert b'name="beam_size"\r\n\r\n1\r\n' in body


async def test_scripts_and_traffic_survive_the_way_between_processes(clip: str):
    script = Script(url="http://127.0.0.1:1", callers=(Caller(name="a", files=(clip,), connections=2),), until="a")
    assert read_script(json.loads(json.dumps(asdict(script)))) == script
    async with small_server(lambda *_: (200, "Wörter")) as url:
        traffic = await play(Script(url=url, callers=script.callers))
    assert read_traffic(json.loads(json.dumps(asdict(traffic)))) == traffic


def test_a_fair_share_is_half_of_the_machine():
    assert fair_rate(4.0) == 2.0


def test_answers_from_before_the_contest_do_not_count():
    assert count_after([answer(start_s=0.0), answer(start_s=0.6), answer(start_s=2.0)], 1.0) == 2


def test_a_refusal_says_when_to_try_again():
    assert is_refusal(answer(status=429, retry_after="2"))
    assert is_refusal(answer(status=503, retry_after="60"))
    assert not is_refusal(answer(status=429))
    assert not is_refusal(answer(status=500, retry_after="2"))


def test_only_the_known_text_is_right():
    assert is_right(answer(), {"f": "some words"})
    assert not is_right(answer(), {"f": "other words"})
    assert not is_right(answer(text=""), {"f": ""})
    assert not is_right(answer(status=429), {"f": "some words"})


def test_percentiles_are_values_that_were_measured():
    assert percentile(range(1, 101), 0.95) == 95
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2
    assert percentile([7.0], 0.95) == 7
    assert latencies([answer(seconds=1), answer(seconds=3)]) == {"p50_s": 1, "p95_s": 3}
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)


def test_a_plan_shrinks_with_its_time_and_never_to_nothing():
    full, half, least = plan_load(60), plan_load(6), plan_load(0.1)

    assert (full.clips, full.levels, full.lengths[-1]) == (20, (1, 2, 4, 8, 16, 32), 600)
    assert (half.clips, half.share_s, half.levels) == (10, 12, full.levels)
    assert least.levels == (1, 4, 16)
    assert (least.clips, least.rounds, least.lengths) == (8, 1, (10, 30))
    assert min(least.long_s, least.share_s, least.limit_s) >= 3
