"""A model whose engine works in the test's own process, one row at a time, and counts what it is asked."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from auricle.engines.base import EngineConfig
from auricle.engines.fake_engine import FakeEngine
from auricle.tokenizer import Tokenizer
from auricle.types import Answer, ModelInfo, RequestInfo, Row
from samples import NANO


@dataclass
class OneEngine:
    """Stands for the models, the model and its recognizer.

    After ``fails_after`` rows it raises ``error``; with a ``gate`` it waits there after ``waits_after`` rows.
    """

    name: str = "nano"
    fails_after: int | None = None
    error: Exception = field(default_factory=lambda: InterruptedError("the machine is switched off"))
    waits_after: int = 0
    gate: asyncio.Event | None = None
    rows: list[Row] = field(default_factory=list)
    requests: list[RequestInfo] = field(default_factory=list)
    is_waiting: asyncio.Event = field(default_factory=asyncio.Event)
    tokenizer: Tokenizer = field(default_factory=lambda: Tokenizer(NANO))
    engine: FakeEngine = field(
        default_factory=lambda: FakeEngine(EngineConfig(engine="fake", model_name="nano", model_path=NANO))
    )

    @property
    def info(self) -> ModelInfo:
        return self.engine.info

    @property
    def recognizer(self) -> Any:
        return self

    @asynccontextmanager
    async def lease(self, name: str | None = None) -> AsyncGenerator[Any]:
        yield self

    @contextmanager
    def admit(self, request: RequestInfo) -> Generator[None]:
        yield

    async def decode(self, row: Row, request: RequestInfo, *, remaining_s: float) -> Answer:
        if self.fails_after is not None and len(self.rows) >= self.fails_after:
            raise self.error
        if self.gate is not None and len(self.rows) >= self.waits_after:
            self.is_waiting.set()
            await self.gate.wait()
        self.rows.append(row)
        self.requests.append(request)
        return Answer(decoding=self.engine.decode([row])[0])

    def decoded(self) -> int:
        """Windows that were decoded, without detections of the language."""
        return sum(row.options.task != "detect_language" for row in self.rows)
