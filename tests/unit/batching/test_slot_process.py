"""Rows that join and leave through a real process, the fake engine's: kills, closing, memory, calibration."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from auricle.batching.metrics import Metrics
from auricle.batching.replica import NoRoomTogether, Replica, start_replica
from auricle.batching.scheduler import Scheduler
from auricle.engines.base import EngineConfig
from auricle.errors import Busy, EngineFailed, EngineOutOfMemory
from auricle.types import Answer, Decoding, DecodingOptions, RequestInfo, Row


def config(slots: int = 4, **options: str) -> EngineConfig:
    options = {"joins": "true", "step_delay_s": "0.01"} | options
    return EngineConfig(engine="fake", model_name="m", model_path=Path(), max_batch=slots, options=options)


def row(key: str, seconds: int = 5, beam_size: int = 1) -> Row:
    seed = sum(key.encode())
    features = np.random.default_rng(seed).normal(size=(80, 100 * seconds)).astype(np.float32)
    options = DecodingOptions(beam_size=beam_size, without_timestamps=True)
    return Row(key=key, features=features, prompt=(), options=options)


def ignore(index: int, decoding: Decoding, seconds: float) -> None:
    pass


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    replica = await start_replica(config())
    yield replica
    await replica.close()


class Server:
    """A scheduler over processes."""

    def __init__(self, slots: int = 4, **options: str) -> None:
        self.metrics = Metrics()
        self.scheduler = Scheduler(lambda: start_replica(config(slots, **options)), metrics=self.metrics)

    def ask(self, key: str, seconds: int = 5) -> asyncio.Task[Answer]:
        request = RequestInfo(request_id=key)
        return asyncio.create_task(self.scheduler.decode(row(key, seconds), request, remaining_s=1.0))

    def metric(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(name) or 0.0

    async def until(self, name: str, value: float) -> None:
        while self.metric(name) < value:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a_short_row_that_came_later_is_answered_first(replica: Replica):
    order: list[str] = []

    async def decode(key: str, seconds: int) -> None:
        await replica.decode([row(key, seconds)], ignore)
        order.append(key)

    await asyncio.gather(decode("long", 30), decode("short", 2))
    assert order == ["short", "long"]


async def test_a_cancelled_row_leaves_its_slot(replica: Replica):
    running = [asyncio.create_task(replica.decode([row(f"{number}", 30, beam_size=4)], ignore)) for number in range(2)]
    await asyncio.sleep(0.05)
    before = asyncio.get_running_loop().time()
    running[0].cancel()
    await running[1]
    assert replica.load.slot_steps < 4 * (31 + 25), "the first did not run to its end"
    assert asyncio.get_running_loop().time() > before
    with pytest.raises(asyncio.CancelledError):
        await running[0]


async def test_a_killed_process_with_rows_inside_and_ahead_costs_no_answer():
    server = Server()
    tasks = [server.ask(f"r{number}", 1 + number % 7) for number in range(30)]
    await server.until("auricle_windows_total", 4)
    (pid,) = server.scheduler.pids
    os.kill(pid, signal.SIGKILL)
    answers = await asyncio.gather(*tasks)
    alone = await start_replica(config(step_delay_s="0"))
    for number, answer in enumerate(answers):
        expected: list[Decoding] = []
        await alone.decode(
            [row(f"r{number}", 1 + number % 7)], lambda _, decoding, __, to=expected: to.append(decoding)
        )
        assert [answer.decoding] == expected
    await alone.close()
    assert server.metric("auricle_engine_restarts_total") == 1
    assert server.metric("auricle_windows_total") == 30
    await server.scheduler.close()


async def test_a_row_that_kills_every_process_fails_alone():
    server = Server(crash_on_key="bad", step_delay_s="0.001")
    tasks = [server.ask(f"r{number}") for number in range(6)] + [server.ask("bad")]
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Answer] * 6 + [EngineFailed]
    assert server.metric("auricle_engine_restarts_total") <= 3
    await server.scheduler.close()


async def test_a_row_at_which_every_engine_raises_fails_alone():
    server = Server(raise_on_key="bad", step_delay_s="0.001")
    tasks = [server.ask(f"r{number}") for number in range(6)] + [server.ask("bad")]
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Answer] * 6 + [EngineFailed]
    await server.scheduler.close()


async def test_where_memory_is_short_fewer_rows_are_inside():
    server = Server(slots=8, oom_above="3", step_delay_s="0.001")
    answers = await asyncio.gather(*(server.ask(f"r{number}") for number in range(16)))
    assert {type(answer) for answer in answers} == {Answer}
    assert server.metric("auricle_slots") == 2
    assert server.metric("auricle_engine_restarts_total") == 0
    await server.scheduler.close()


async def test_a_row_for_which_memory_never_suffices_is_told_so():
    replica = await start_replica(config(oom_above="0"))
    with pytest.raises(EngineOutOfMemory):
        await replica.decode([row("a")], ignore)
    with pytest.raises(NoRoomTogether):
        await replica.decode([row("a"), row("b")], ignore)
    assert replica.alive
    await replica.close()


async def test_closing_with_rows_inside_tells_those_who_wait():
    server = Server(step_delay_s="0.05")
    tasks = [server.ask(f"r{number}", 30) for number in range(8)]
    await server.until("auricle_slots_used", 4)
    await server.scheduler.close()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Busy] * 8


async def test_the_seconds_of_a_batch_are_those_from_its_first_row_to_its_last(replica: Replica):
    """As calibration wants them: with more rows than slots, the last has been inside for a part of it only."""
    rows_s: list[float] = []
    seconds = await replica.decode([row(f"{number}") for number in range(8)], lambda *answer: rows_s.append(answer[2]))
    assert seconds >= 2 * 6 * 0.01
    assert max(rows_s) < seconds
