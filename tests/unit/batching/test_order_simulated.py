"""A clip among long files on a CPU, in simulated seconds: how long it waits, and for whom.

The costs are those of a base model on two cores: a row is 0.5 s of encoding and 10 ms a token; batches share a third of
the latter. Only the pauses between batches are real.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from auricle.batching.metrics import Metrics
from auricle.batching.replica import AnswerRow
from auricle.batching.scheduler import Scheduler
from auricle.engines.wire import Load
from auricle.types import Decoding, DecodingOptions, ModelInfo, Priority, RequestInfo, Row

ENCODE_S, LONG_S, CLIP_S = 0.5, 1.0, 0.3
DETECT = DecodingOptions(task="detect_language")
INFO = ModelInfo(
    name="m",
    engine="simulated",
    device="cpu",
    compute_type="int8",
    n_mels=80,
    is_multilingual=True,
    can_translate=True,
    max_batch=4,
    batch_by=("options",),
)


@dataclass
class SimulatedEngine:
    """One batch at a time; the simulated clock goes on by what it costs."""

    now: float = 0.0
    log: list[list[str]] = field(default_factory=list)
    alive: bool = True
    pid: int | None = 1
    info: ModelInfo = INFO
    load: Load = field(default_factory=Load)

    async def decode(self, rows: Sequence[Row], answer: AnswerRow) -> float:
        self.log.append([row.key for row in rows])
        await asyncio.sleep(0.001)
        seconds = 0.0
        if rows[0].options == DETECT:
            seconds = ENCODE_S * len(rows)
        else:
            seconds += sum(ENCODE_S for row in rows if not row.key.startswith("clip"))
            tokens = [CLIP_S if row.key.startswith("clip") else LONG_S for row in rows]
            seconds += max(tokens) * len(rows) * (1.0 if len(rows) == 1 else 0.67)
        self.now += seconds
        for index in range(len(rows)):
            answer(index, Decoding(), seconds)
        return seconds

    async def close(self) -> None:
        self.alive = False


class Simulation:
    def __init__(self, *, max_batch_s: float = 1.0) -> None:
        self.engine = SimulatedEngine()
        self.scheduler = Scheduler(
            self.start, metrics=Metrics(), max_batch_s=max_batch_s, clock=lambda: self.engine.now
        )
        self.files: list[asyncio.Task[None]] = []

    async def start(self) -> SimulatedEngine:
        return self.engine

    async def ask(self, key: str, request: RequestInfo, remaining_s: float, options: DecodingOptions) -> None:
        row = Row(key=key, features=np.zeros((80, 10), np.float32), prompt=(), options=options)
        await self.scheduler.decode(row, request, remaining_s=remaining_s)

    def start_files(self, count: int = 4, *, rows: int = 60) -> None:
        async def transcribe(name: str) -> None:
            request = RequestInfo(request_id=name, audio_s=28.0 * rows)
            slots, done = asyncio.Semaphore(16), 0

            async def window(number: int) -> None:
                nonlocal done
                async with slots:
                    await self.ask(f"{name}-{number}", request, 28.0 * (rows - done), DecodingOptions())
                    done += 1

            await asyncio.gather(*(window(number) for number in range(rows)))

        self.files = [asyncio.create_task(transcribe(f"file{n}")) for n in range(count)]

    async def clip(self, name: str = "clip", priority: Priority = Priority.INTERACTIVE) -> tuple[float, int]:
        """Simulated seconds from asking to the answer, and rows of others in the batches that began meanwhile."""
        began, batches = self.engine.now, len(self.engine.log)
        request = RequestInfo(request_id=name, audio_s=5.0, priority=priority)
        await self.ask(name, request, 5.0, DETECT)
        await self.ask(name, request, 5.0, DecodingOptions())
        meanwhile = self.engine.log[batches:]
        others = sum(not key.startswith("clip") for batch in meanwhile for key in batch)
        return self.engine.now - began, others

    async def batches(self, count: int) -> None:
        target = len(self.engine.log) + count
        while len(self.engine.log) < target:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    async def close(self) -> None:
        for file in self.files:
            file.cancel()
        await asyncio.gather(*self.files, return_exceptions=True)
        await self.scheduler.close()


async def test_clips_among_four_long_files_wait_for_one_row_at_most() -> None:
    simulation = Simulation()
    idle_s, _ = await simulation.clip("clip-idle")
    simulation.start_files()
    waits: list[float] = []
    for number in range(12):
        await simulation.batches(2)
        seconds, others = await simulation.clip(f"clip-{number}")
        waits.append(seconds)
        assert others == 0, "nothing begins between a clip's arrival and its answer"
    assert max(waits) <= 4 * idle_s
    await simulation.close()


async def test_without_the_limit_a_clip_waits_for_a_whole_batch_of_long_rows() -> None:
    """What the limit is for: the same simulation, without it."""
    simulation = Simulation(max_batch_s=0.0)
    idle_s, _ = await simulation.clip("clip-idle")
    simulation.start_files()
    await simulation.batches(2)
    seconds, _ = await simulation.clip("clip-1")
    assert seconds > 4 * idle_s
    await simulation.close()


async def test_batches_of_long_files_are_full_while_no_clips_come() -> None:
    simulation = Simulation()
    simulation.start_files()
    await simulation.batches(6)
    assert [len(batch) for batch in simulation.engine.log[:6]] == [4] * 6
    await simulation.close()


async def test_clips_that_nobody_waits_for_do_not_shorten_the_batches() -> None:
    simulation = Simulation()
    simulation.start_files()
    await simulation.batches(2)
    await simulation.clip("clip-1", Priority.BATCH)
    await simulation.batches(3)
    assert [len(batch) for batch in simulation.engine.log[-2:]] == [4, 4]
    await simulation.close()


@pytest.mark.parametrize("count", [4])
async def test_clips_share_batches_with_clips(count: int) -> None:
    simulation = Simulation()
    simulation.start_files()
    await simulation.batches(1)
    await asyncio.gather(*(simulation.clip(f"clip-{number}") for number in range(count)))
    mixed = [batch for batch in simulation.engine.log if any(key.startswith("clip") for key in batch)]
    assert [len(batch) for batch in mixed] == [count, count], "their languages, then their texts"
    assert not any(key.startswith("file") for batch in mixed for key in batch)
    await simulation.close()


async def test_the_files_go_on_while_clips_come_without_end() -> None:
    simulation = Simulation()
    simulation.start_files(1, rows=6)

    async def clips() -> None:
        for number in range(1000):
            await simulation.clip(f"clip-{number}")

    clients = [asyncio.create_task(clips()) for _ in range(4)]
    await asyncio.gather(*simulation.files)
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    await simulation.close()
