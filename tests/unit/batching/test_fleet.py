"""Several engines behind one Recognizer, each a real process with the fake engine."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest

from auricle.batching import fleet as fleet_module
from auricle.batching.fleet import Fleet
from auricle.batching.metrics import Metrics
from auricle.batching.replica import Replica, start_replica
from auricle.batching.scheduler import Scheduler
from auricle.engines.base import EngineConfig
from auricle.errors import Busy, EngineFailed
from auricle.types import Answer, DecodingOptions, RequestInfo, Row

FEATURES = np.random.default_rng(0).normal(size=(80, 300)).astype(np.float32)
REQUEST = RequestInfo(request_id="one")

in_batches_and_in_slots = pytest.mark.parametrize("how", [{}, {"joins": "true"}], ids=["batches", "slots"])


@dataclass
class Place:
    """A device: what was started there, and what is to go wrong there."""

    index: int
    options: dict[str, str]
    started: list[Replica] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    """Keys of the rows, in the order of their batches."""
    is_lost: bool = False
    """Whether no engine can be started there any more."""

    async def start(self) -> Replica:
        if self.is_lost:
            raise EngineFailed(f"device {self.index} fell off the bus")
        config = EngineConfig(
            engine="fake", model_name="m", model_path=Path(), device_index=self.index, max_batch=2, options=self.options
        )
        replica = await start_replica(config)
        self.started.append(replica)
        decode = replica.decode

        async def spy(rows: Sequence[Row], *rest: object) -> object:
            self.sent += [row.key for row in rows]
            return await decode(rows, *rest)  # type: ignore[arg-type]

        replica.decode = spy  # type: ignore[method-assign]
        return replica


@dataclass
class Bench:
    fleet: Fleet
    places: list[Place]
    metrics: Metrics

    def ask(self, key: str) -> "asyncio.Task[Answer]":
        row = Row(key=key, features=FEATURES, prompt=(), options=DecodingOptions(beam_size=1))
        return asyncio.create_task(self.fleet.decode(row, REQUEST, remaining_s=60.0))


@asynccontextmanager
async def bench(**options: str) -> AsyncIterator[Bench]:
    places = [Place(index=index, options=options) for index in range(2)]
    metrics = Metrics()
    fleet = Fleet([Scheduler(place.start, metrics=metrics) for place in places])
    try:
        await fleet.start()
        yield Bench(fleet=fleet, places=places, metrics=metrics)
    finally:
        await fleet.close()


async def until(condition: object) -> None:
    while not condition():  # type: ignore[operator]  # noqa: ASYNC110
        await asyncio.sleep(0.005)


def ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_each_device_has_a_process_of_its_own_and_all_get_work():
    async with bench(step_delay_s="0.02") as here:
        assert len(set(here.fleet.pids)) == 2
        assert here.fleet.alive
        assert here.fleet.info.engine == "fake"
        answers = await asyncio.gather(*(here.ask(f"r-{number}") for number in range(12)))
        assert all(answer.decoding.tokens for answer in answers)
        assert [len(place.sent) for place in here.places] == [6, 6]


async def test_a_slower_device_gets_fewer_rows():
    async with bench() as here:
        here.places[1].options["step_delay_s"] = "0.2"
        os.kill(here.fleet.pids[1], signal.SIGKILL)
        await until(lambda: len(here.fleet.pids) == 1)
        await here.ask("wakes it up")
        await until(lambda: len(here.fleet.pids) == 2)
        for place in here.places:
            place.sent.clear()
        waiting: set[asyncio.Task[Answer]] = set()
        for number in range(24):
            waiting.add(here.ask(f"r-{number}"))
            if len(waiting) == 4:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.gather(*waiting)
        fast, slow = (len(place.sent) for place in here.places)
        assert fast + slow == 24
        assert fast > 2 * slow


async def test_the_tries_of_a_window_stay_on_the_device_that_holds_its_encoding():
    async with bench() as here:
        await here.ask("a")
        await here.ask("b")
        busy = [here.ask(f"r-{number}") for number in range(8)]
        for _ in range(3):
            await asyncio.gather(here.ask("a"), here.ask("b"))
        await asyncio.gather(*busy)
        for key in ("a", "b"):
            assert sorted(place.sent.count(key) for place in here.places) == [0, 4]


@in_batches_and_in_slots
async def test_the_kill_of_one_engine_loses_no_row_and_the_others_go_on(how: dict[str, str]):
    async with bench(step_delay_s="0.05", **how) as here:
        rows = [here.ask(f"r-{number}") for number in range(16)]
        await until(lambda: all(place.sent for place in here.places))
        first, second = here.fleet.pids
        os.kill(first, signal.SIGKILL)
        answers = await asyncio.gather(*rows)
        assert all(answer.decoding.tokens for answer in answers)
        assert second in here.fleet.pids
        assert first not in here.fleet.pids
        assert [len(place.started) for place in here.places] == [2, 1]
        assert here.metrics.registry.get_sample_value("auricle_engine_restarts_total") == 1


async def test_an_engine_that_dies_while_it_is_idle_is_started_again_and_nobody_waits_for_it():
    async with bench() as here:
        first, _ = here.fleet.pids
        os.kill(first, signal.SIGKILL)
        await until(lambda: len(here.fleet.pids) == 1)
        assert here.fleet.alive
        here.places[0].options["load_delay_s"] = "0.3"
        await asyncio.gather(*(here.ask(f"r-{number}") for number in range(4)))
        assert len(here.places[1].sent) == 4
        await until(lambda: len(here.fleet.pids) == 2)
        await asyncio.gather(*(here.ask(f"s-{number}") for number in range(4)))
        assert here.places[0].sent


@in_batches_and_in_slots
async def test_the_rows_of_a_device_that_is_lost_move_to_another(how: dict[str, str]):
    async with bench(step_delay_s="0.05", **how) as here:
        rows = [here.ask(f"r-{number}") for number in range(8)]
        await until(lambda: all(place.sent for place in here.places))
        here.places[0].is_lost = True
        os.kill(here.fleet.pids[0], signal.SIGKILL)
        answers = await asyncio.gather(*rows)
        assert all(answer.decoding.tokens for answer in answers)
        assert len(here.fleet.pids) == 1


async def test_a_lost_device_is_not_tried_with_every_row(monkeypatch: pytest.MonkeyPatch):
    async with bench() as here:
        here.places[0].is_lost = True
        os.kill(here.fleet.pids[0], signal.SIGKILL)
        await until(lambda: len(here.fleet.pids) == 1)
        for number in range(5):
            await here.ask(f"r-{number}")
        assert here.places[0].sent == []
        here.places[0].is_lost = False
        await here.ask("r-5")
        assert len(here.places[0].started) == 1, "not so soon again"
        monkeypatch.setattr(fleet_module, "_REVIVE_EVERY_S", 0.0)
        here.fleet._members[0].not_before = 0.0
        await here.ask("r-6")
        await until(lambda: len(here.fleet.pids) == 2)


@in_batches_and_in_slots
async def test_a_row_that_kills_every_engine_fails_where_it_is_and_does_not_kill_the_others(how: dict[str, str]):
    async with bench(crash_on_key="bad", **how) as here:
        with pytest.raises(EngineFailed):
            await here.ask("bad")
        assert [len(place.started) for place in here.places][1] == 1
        assert (await here.ask("good")).decoding.tokens


async def test_where_no_device_has_an_engine_the_error_comes_out():
    async with bench(step_delay_s="0.05") as here:
        row = here.ask("r")
        await until(lambda: any(place.sent for place in here.places))
        for place in here.places:
            place.is_lost = True
        for pid in here.fleet.pids:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(EngineFailed, match="fell off the bus"):
            await row


async def test_one_device_that_cannot_be_used_fails_the_start_and_leaves_no_process():
    good, bad = Place(index=0, options={}), Place(index=1, options={}, is_lost=True)
    fleet = Fleet([Scheduler(place.start, metrics=Metrics()) for place in (good, bad)])
    with pytest.raises(EngineFailed, match="device 1"):
        await fleet.start()
    await fleet.close()
    assert all(replica.pid is not None and ended(replica.pid) for replica in good.started)


async def test_closing_ends_all_processes_and_fails_those_who_wait():
    async with bench(step_delay_s="30") as here:
        rows = [here.ask(f"r-{number}") for number in range(6)]
        await until(lambda: all(place.sent for place in here.places))
        pids = here.fleet.pids
        await here.fleet.close()
        outcomes = await asyncio.gather(*rows, return_exceptions=True)
        assert all(isinstance(outcome, Busy | EngineFailed) for outcome in outcomes)
        assert all(ended(pid) for pid in pids)
        assert here.fleet.pids == ()
        with pytest.raises(Busy):
            await here.ask("late")


async def test_draining_waits_for_the_requests_in_progress_on_all_devices():
    async with bench() as here:
        with here.fleet.admit(REQUEST):
            draining = asyncio.create_task(here.fleet.drain())
            await here.ask("r")
            assert not draining.done()
            with pytest.raises(Busy), here.fleet.admit(REQUEST):
                pass
        await draining


async def test_the_queues_of_all_devices_are_counted():
    async with bench(step_delay_s="0.1") as here:
        rows = [here.ask(f"r-{number}") for number in range(12)]
        await until(lambda: all(place.sent for place in here.places))
        assert here.metrics.queue_rows() == 8
        await asyncio.gather(*rows)
        assert here.metrics.queue_rows() == 0
