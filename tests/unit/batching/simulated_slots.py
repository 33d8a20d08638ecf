"""An engine whose rows join and leave, in simulated steps: a row's key says how many it takes, ``name:steps``."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from auricle.batching.metrics import Metrics
from auricle.batching.replica import AnswerRow, BatchNotStarted, NoRoomTogether
from auricle.batching.scheduler import Scheduler
from auricle.engines.base import slots_of
from auricle.engines.wire import Load
from auricle.errors import EngineFailed
from auricle.types import Answer, Decoding, DecodingOptions, ModelInfo, RequestInfo, Row

STEP_S = 0.01
FEATURES = np.zeros((80, 10), np.float32)
INFO = ModelInfo(
    name="m",
    engine="simulated",
    device="cuda",
    compute_type="float16",
    n_mels=80,
    is_multilingual=True,
    can_translate=True,
    max_batch=8,
    joins=True,
    batch_by=(),
)


class _Run:
    def __init__(self, row: Row) -> None:
        self.row = row
        self.slots = slots_of(row.options)
        self.steps_left = int(row.key.rpartition(":")[2])
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class SimulatedSlots:
    """Steps when ``step`` is called; what waits joins before, in the order in which it was sent."""

    def __init__(self, info: ModelInfo = INFO) -> None:
        self.info = info
        self.alive = True
        self.pid: int | None = 1
        self.load = Load()
        self.waiting: list[_Run] = []
        self.inside: list[_Run] = []
        self.joined: list[str] = []
        self.left: list[str] = []
        self.fatal: Callable[[list[str]], bool] = lambda keys: False
        self.most_rows = 1000

    @property
    def used(self) -> int:
        return sum(run.slots for run in self.inside)

    @property
    def names(self) -> list[str]:
        return [run.row.key for run in self.inside]

    async def decode(self, rows: Sequence[Row], answer: AnswerRow) -> float:
        if not self.alive:
            raise BatchNotStarted
        (row,) = rows
        run = _Run(row)
        self.waiting.append(run)
        try:
            await run.done
        except asyncio.CancelledError:
            self.left.append(row.key)
            self.waiting = [other for other in self.waiting if other is not run]
            self.inside = [other for other in self.inside if other is not run]
            raise
        answer(0, Decoding(), 1.0)
        return 1.0

    def step(self) -> None:
        while self.waiting and self.used + self.waiting[0].slots <= self.info.max_batch:
            run = self.waiting.pop(0)
            self.inside.append(run)
            self.joined.append(run.row.key)
        if self.fatal(self.names):
            self.die()
        elif len(self.inside) > self.most_rows:
            for run in self.inside:
                run.done.set_exception(NoRoomTogether(self.used))
            self.inside = []
        if not self.inside:
            return
        self.load = Load(steps=self.load.steps + 1, slot_steps=self.load.slot_steps + self.used)
        for run in self.inside:
            run.steps_left -= 1
            if run.steps_left == 0:
                run.done.set_result(None)
        self.inside = [run for run in self.inside if run.steps_left]

    def die(self) -> None:
        self.alive = False
        died, not_started = EngineFailed("died"), BatchNotStarted()
        for run in [*self.inside, *self.waiting]:
            if not run.done.done():
                run.done.set_exception(died if run in self.inside else not_started)
        self.inside, self.waiting = [], []

    async def close(self) -> None:
        if self.alive:
            self.die()


class SlotBench:
    """A scheduler together with all engines that it started; time is steps."""

    def __init__(self, slots: int = 8, **changes: object) -> None:
        self.info = replace(INFO, max_batch=slots, **changes)  # pyright: ignore[reportArgumentType]
        self.engines: list[SimulatedSlots] = []
        self.metrics = Metrics()
        self.now = 0.0
        self.fatal: Callable[[list[str]], bool] = lambda keys: False
        self.most_rows = 1000
        self.scheduler = self.make_scheduler()

    def make_scheduler(self, **changes: object) -> Scheduler:
        values: dict[str, object] = {"metrics": self.metrics, "clock": lambda: self.now} | changes
        return Scheduler(self.start_engine, **values)  # pyright: ignore[reportArgumentType]

    @property
    def engine(self) -> SimulatedSlots:
        return self.engines[-1]

    async def start_engine(self) -> SimulatedSlots:
        await asyncio.sleep(0)
        engine = SimulatedSlots(self.info)
        engine.fatal, engine.most_rows = self.fatal, self.most_rows
        self.engines.append(engine)
        return engine

    def ask(
        self,
        key: str,
        *,
        beam_size: int = 1,
        temperature: float = 0.0,
        request: RequestInfo | None = None,
        remaining_s: float = 100.0,
    ) -> asyncio.Task[Answer]:
        options = DecodingOptions(beam_size=beam_size, temperature=temperature)
        row = Row(key=key, features=FEATURES, prompt=(), options=options)
        request = request or RequestInfo(request_id=key)
        return asyncio.create_task(self.scheduler.decode(row, request, remaining_s=remaining_s))

    async def steps(self, count: int = 1) -> None:
        """So many steps of the engine, after each of which everybody gets a turn."""
        for _ in range(count):
            await self.settle()
            self.engine.step()
            self.now += STEP_S
        await self.settle()

    async def run(self, *tasks: "asyncio.Task[Answer]") -> list[Answer | BaseException]:
        """Step until all of these are done."""
        while not all(task.done() for task in tasks):
            await self.steps()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    async def settle(self) -> None:
        for _ in range(12):
            await asyncio.sleep(0)
        while not self.engines:  # noqa: ASYNC110
            await asyncio.sleep(0)

    def metric(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(name) or 0.0
