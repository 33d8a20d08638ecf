"""The place of one engine: started when it is wanted, and again when it has died, but not without end."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from auricle.batching.metrics import Metrics
from auricle.batching.replica import AnswerRow
from auricle.engines.wire import Load
from auricle.errors import Busy, EngineError, EngineFailed
from auricle.types import ModelInfo, Row

_log = logging.getLogger(__name__)

MAX_USELESS = 5
"""Engines in a row that answered nothing, until the next one has to wait. A row that kills every engine takes up to
four with it before it is found: its batch twice, then alone, then its neighbour if that is bad too."""
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0


class StartedEngine(Protocol):
    """What is needed of a ``replica.Replica``."""

    @property
    def alive(self) -> bool: ...
    @property
    def info(self) -> ModelInfo: ...
    @property
    def pid(self) -> int | None: ...
    @property
    def load(self) -> Load: ...
    async def decode(self, rows: Sequence[Row], answer: AnswerRow) -> float: ...
    async def close(self) -> None: ...


StartEngine = Callable[[], Awaitable[StartedEngine]]
"""Gives a started engine each time it is called: at first use, and after a crash."""


class EngineSlot:
    """Holds at most one engine. All methods belong to one event loop."""

    def __init__(self, start_engine: StartEngine, *, metrics: Metrics, clock: Callable[[], float] = time.monotonic):
        self._start_engine = start_engine
        self._metrics = metrics
        self._clock = clock
        self._engine: StartedEngine | None = None
        self._starting: asyncio.Task[StartedEngine] | None = None
        self._useless = 0
        self._not_before = float("-inf")
        self._is_closed = False
        self._recent_keys: deque[str] = deque()
        """Of the windows that the engine can be taken to hold."""
        self.info: ModelInfo | None = None
        """Of the engine that was started last."""
        self.max_rows = 0
        """Of a batch, or slots where rows join: what the engine takes, or less where its memory did not suffice."""

    @property
    def alive(self) -> bool:
        """Whether an engine is loaded and answers."""
        return self._engine is not None and self._engine.alive

    @property
    def pid(self) -> int | None:
        """Of the engine's process, while there is one."""
        return self._engine.pid if self._engine is not None and self._engine.alive else None

    async def ensure(self) -> StartedEngine:
        """An engine that lives; concurrent calls start one.

        Raises what starting it raises, Busy after ``close``, and EngineFailed right away for a while after several
        engines in a row have died without an answer.
        """
        if self._engine is not None and self._engine.alive:
            return self._engine
        if self._is_closed:
            raise unloading()
        if self._starting is None:
            self._check_pause()
            self._starting = asyncio.create_task(self._replace())
            self._starting.add_done_callback(_hear)
        starting = self._starting
        await asyncio.wait([starting])  # unlike awaiting it, this leaves it running when one waiter leaves
        if starting.cancelled():
            raise unloading()
        return starting.result()

    def note_answer(self) -> None:
        """The engine has answered: whatever kills it later is not that it cannot work at all."""
        self._useless = 0

    def note_rows(self, rows: Sequence[Row]) -> None:
        """These are sent to the engine now."""
        self._recent_keys.extend(row.key for row in rows)
        # While a row is inside, about as many join as there are slots.
        is_joining = self.info is not None and self.info.joins
        while len(self._recent_keys) > self.max_rows * (2 if is_joining else 1):
            self._recent_keys.popleft()

    def has_seen(self, row: Row) -> bool:
        """Whether the engine has had the window of ``row`` a moment ago, and need not encode it again."""
        return row.key in self._recent_keys

    def halve(self, failed_rows: int) -> None:
        """Batches of ``failed_rows``, or so many slots in use, do not fit into the memory."""
        self.max_rows = min(self.max_rows, (failed_rows + 1) // 2)

    async def close(self) -> None:
        """End the engine's process, or its start. May be called again."""
        self._is_closed = True
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._engine is not None:
            await self._engine.close()

    def _check_pause(self) -> None:
        left_s = self._not_before - self._clock()
        if left_s > 0:
            raise EngineFailed(
                f"the engine died {self._useless} times in a row without an answer; it is tried again in {left_s:.0f} "
                "s. The server's log says how it died.",
                retry_after_s=left_s,
            )

    async def _replace(self) -> StartedEngine:
        try:
            if self._engine is not None:
                self._metrics.engine_restarts.inc()
                await self._engine.close()
            # Every start counts as useless until its engine answers.
            self._useless += 1
            if self._useless >= MAX_USELESS:
                pause_s = min(FIRST_PAUSE_S * 2 ** (self._useless - MAX_USELESS), LONGEST_PAUSE_S)
                self._not_before = self._clock() + pause_s
                _log.error(
                    "engine start %d in a row without an answer; the next not before %g s", self._useless, pause_s
                )
            try:
                engine = self._engine = await self._start_engine()
            except EngineError:
                raise
            except BaseException:
                # What is wrong with a name or a setting, or a start that was given up, says nothing of the engine.
                self._useless -= 1
                raise
            self.info = engine.info
            self.max_rows = min(self.max_rows or engine.info.max_batch, engine.info.max_batch)
            return engine
        finally:
            self._starting = None


def unloading() -> Busy:
    """The error for those whose model goes away."""
    return Busy("the model is being unloaded; try again", retry_after_s=5.0)


def _hear(task: asyncio.Task[StartedEngine]) -> None:
    """Take note of a failed start that nobody waits for any more; asyncio would complain."""
    if not task.cancelled():
        task.exception()
