"""A scheduler over engines that do as a test says."""

import asyncio
from collections.abc import Callable, Sequence

import numpy as np

from auricle.batching.metrics import Metrics
from auricle.batching.replica import AnswerRow, BatchNotStarted
from auricle.batching.scheduler import Scheduler
from auricle.engines.wire import Load
from auricle.errors import AuricleError, EngineFailed, EngineOutOfMemory
from auricle.types import Answer, Decoding, DecodingOptions, ModelInfo, RequestInfo, Row

FEATURES = np.zeros((80, 10), np.float32)
INFO = ModelInfo(
    name="scripted",
    engine="scripted",
    device="cuda",
    compute_type="none",
    n_mels=80,
    is_multilingual=True,
    can_translate=True,
    max_batch=4,
    batch_by=("prompt_length",),
)

Script = Callable[[list[str]], BaseException | None]


class ScriptedEngine:
    """Stands in for a process: decodes one batch at a time, fails as its script says, and dies of it."""

    def __init__(self, script: Script, seconds: float = 0.0, info: ModelInfo = INFO) -> None:
        self.info = info
        self.alive = True
        self.pid: int | None = 1
        self.load = Load()
        self.batches: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._script = script
        self._turn = asyncio.Lock()
        self._seconds = seconds
        self.sent = 0

    async def decode(self, rows: Sequence[Row], answer: AnswerRow) -> float:
        self.sent += 1
        async with self._turn:
            if not self.alive:
                raise BatchNotStarted
            keys = [row.key for row in rows]
            self.batches.append(keys)
            await self.gate.wait()
            if not self.alive:
                raise EngineFailed("closed")
            error = self._script(keys)
            if error is not None:
                self.alive = isinstance(error, EngineOutOfMemory)
                raise error
            for index, row in enumerate(rows):
                answer(index, Decoding(tokens=(int(row.key.rpartition("-")[2]),)), self._seconds)
            return self._seconds

    async def close(self) -> None:
        self.alive = False
        self.gate.set()


class Bench:
    """A scheduler together with all engines it started."""

    def __init__(self) -> None:
        self.engines: list[ScriptedEngine] = []
        self.metrics = Metrics()
        self.script: Script = lambda keys: None
        self.load_errors: list[AuricleError] = []
        self.loads = 0
        self.seconds = 0.0
        self.is_gated = False
        self.info = INFO
        self.scheduler = Scheduler(self.start_engine, metrics=self.metrics)

    async def start_engine(self) -> ScriptedEngine:
        self.loads += 1
        await asyncio.sleep(0)
        if self.load_errors:
            raise self.load_errors.pop(0)
        self.engines.append(ScriptedEngine(self.script, self.seconds, self.info))
        if self.is_gated:
            self.engines[-1].gate.clear()
        return self.engines[-1]

    def ask(
        self, key: str, *, prompt: tuple[int, ...] = (), request: RequestInfo | None = None, remaining_s: float = 1.0
    ) -> asyncio.Task[Answer]:
        row = Row(key=key, features=FEATURES, prompt=prompt, options=DecodingOptions())
        request = request or RequestInfo(request_id=key)
        return asyncio.create_task(self.scheduler.decode(row, request, remaining_s=remaining_s))

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)
