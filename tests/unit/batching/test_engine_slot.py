import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from auricle.batching.engine_slot import FIRST_PAUSE_S, LONGEST_PAUSE_S, MAX_USELESS, EngineSlot
from auricle.batching.metrics import Metrics
from auricle.batching.replica import AnswerRow
from auricle.engines.wire import Load
from auricle.errors import AuricleError, Busy, EngineFailed, ModelNotFound
from auricle.types import ModelInfo, Row

INFO = ModelInfo(
    name="m",
    engine="e",
    device="cpu",
    compute_type="none",
    n_mels=80,
    is_multilingual=True,
    can_translate=True,
    max_batch=8,
)


class MortalEngine:
    """Lives until somebody says otherwise."""

    def __init__(self) -> None:
        self.alive = True
        self.info = INFO
        self.pid: int | None = 1
        self.load = Load()

    async def decode(self, rows: Sequence[Row], answer: AnswerRow) -> float:
        raise NotImplementedError

    async def close(self) -> None:
        self.alive = False


class Bench:
    def __init__(self) -> None:
        self.now = 0.0
        self.starts = 0
        self.error: AuricleError | None = None
        self.slot = EngineSlot(self.start, metrics=Metrics(), clock=lambda: self.now)

    async def start(self) -> MortalEngine:
        self.starts += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return MortalEngine()

    async def live_and_die(self, *, answer: bool = False) -> None:
        engine = await self.slot.ensure()
        if answer:
            self.slot.note_answer()
        await engine.close()

    async def wear_out(self) -> None:
        for _ in range(MAX_USELESS):
            await self.live_and_die()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.slot.close()


async def test_an_engine_that_lives_is_used_again(bench: Bench):
    assert await bench.slot.ensure() is await bench.slot.ensure()
    assert bench.starts == 1


async def test_an_engine_that_dies_without_an_answer_over_and_over_is_not_started_without_end(bench: Bench):
    await bench.wear_out()
    for _ in range(100):
        with pytest.raises(EngineFailed, match="5 times in a row") as caught:
            await bench.slot.ensure()
    assert bench.starts == MAX_USELESS
    assert caught.value.retry_after_s == FIRST_PAUSE_S


async def test_after_the_pause_one_more_is_tried_and_each_pause_is_longer_up_to_a_limit(bench: Bench):
    await bench.wear_out()
    pauses: list[float] = []
    for _ in range(10):
        with pytest.raises(EngineFailed) as caught:
            await bench.slot.ensure()
        pauses.append(caught.value.retry_after_s or 0.0)
        bench.now += pauses[-1]
        await bench.live_and_die()
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[1], pauses[-1]) == (FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, LONGEST_PAUSE_S)
    assert bench.starts == MAX_USELESS + 10


async def test_an_answer_makes_good_for_all_deaths_before_it(bench: Bench):
    for _ in range(5 * MAX_USELESS):
        await bench.live_and_die()
        await bench.live_and_die(answer=True)
    assert bench.starts == 10 * MAX_USELESS


async def test_starts_that_fail_in_the_engine_count_and_wrong_names_do_not(bench: Bench):
    bench.error = ModelNotFound("no such model")
    for _ in range(3 * MAX_USELESS):
        with pytest.raises(ModelNotFound):
            await bench.slot.ensure()
    bench.error = EngineFailed("the engine's process ended")
    for _ in range(3 * MAX_USELESS):
        with pytest.raises(EngineFailed):
            await bench.slot.ensure()
    assert bench.starts == 4 * MAX_USELESS


async def test_batches_stay_at_the_size_that_the_memory_allowed(bench: Bench):
    await bench.slot.ensure()
    bench.slot.halve(8)
    await bench.live_and_die()
    await bench.slot.ensure()
    assert bench.slot.max_rows == 4


async def test_a_closed_slot_starts_nothing(bench: Bench):
    await bench.slot.close()
    with pytest.raises(Busy):
        await bench.slot.ensure()
    assert bench.starts == 0
