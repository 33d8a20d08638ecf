"""Rows in, answers out: the Recognizer over one engine process.

Rows wait in a ``queue``. How they come to the engine depends on it: in batches (``batch_feed``), or one by one into
slots, where rows join and leave at any step (``slot_feed``).
"""

import asyncio
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from auricle.batching.attempts import fail
from auricle.batching.batch_feed import BatchFeed
from auricle.batching.device import Devices
from auricle.batching.engine_slot import EngineSlot, StartEngine, unloading
from auricle.batching.entry import Entry
from auricle.batching.feed import Feed, Line
from auricle.batching.metrics import Metrics
from auricle.batching.queue import Queue
from auricle.batching.slot_feed import SlotFeed
from auricle.engines.base import batch_key, slots_of
from auricle.errors import ModelLoading
from auricle.types import Answer, ModelInfo, RequestInfo, Row


class Recognizer(Protocol):
    """Where the pipeline has its rows decoded: a ``Scheduler`` here, a handle to many of them on a cluster."""

    @property
    def info(self) -> ModelInfo:
        """Of the loaded model. Raises ModelLoading before it is."""
        ...

    def admit(self, request: RequestInfo) -> AbstractContextManager[None]:
        """Spans a request from first to last, so that its model stays. Raises Busy where the model goes away."""
        ...

    async def decode(self, row: Row, request: RequestInfo, *, remaining_s: float) -> Answer:
        """Decode ``row``; ``remaining_s`` is the audio that the request has still to do.

        Raises an EngineError, DeadlineExceeded or Busy. A cancelled call gives up its place at once.
        """
        ...


class Scheduler:
    """The Recognizer over one engine process. All methods belong to one event loop.

    ``devices`` are those on which other schedulers work too, ``rank`` the model's place among them (lower goes first).
    ``max_batch_s`` bounds batches of long requests while short ones come, where batches take longer by the row;
    ``batch_timeout_s`` is the time after which the engine is taken to hang. 0 is no bound for both.
    """

    def __init__(
        self,
        start_engine: StartEngine,
        *,
        metrics: Metrics,
        devices: Devices | None = None,
        rank: float = 0.0,
        max_batch_s: float = 0.0,
        batch_timeout_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._devices = devices or Devices()
        self._rank = rank
        self._max_batch_s = max_batch_s
        self._batch_timeout_s = batch_timeout_s
        self._clock = clock
        self._queue = Queue()
        self._slot = EngineSlot(start_engine, metrics=metrics, clock=clock)
        self._feed: Feed | None = None
        self._requests = 0
        self._is_draining = False
        self._is_closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._queue_length = self._queue.__len__
        metrics.watch_queue(self._queue_length)

    @property
    def info(self) -> ModelInfo:
        """See Recognizer."""
        if self._slot.info is None:
            raise ModelLoading("the model is being loaded; try again", retry_after_s=5.0)
        return self._slot.info

    @property
    def alive(self) -> bool:
        """Whether an engine is loaded and answers."""
        return self._slot.alive

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the engine's process, while there is one."""
        return () if self._slot.pid is None else (self._slot.pid,)

    async def start(self) -> ModelInfo:
        """Load the model unless it is loaded. Raises what loading raises; the next call tries again."""
        return (await self._slot.ensure()).info

    @contextmanager
    def admit(self, request: RequestInfo) -> Generator[None]:
        """See Recognizer."""
        self._check_open(draining_too=True)
        self._requests += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._requests -= 1
            self._note_idle()

    async def decode(self, row: Row, request: RequestInfo, *, remaining_s: float) -> Answer:
        """See Recognizer."""
        self._check_open()
        if self._slot.info is None:
            await self.start()
            self._check_open()
        info = self.info
        if self._feed is None:
            self._feed = self._make_feed(info)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        entry = Entry(
            row=row,
            request=request,
            remaining_s=remaining_s,
            enqueued_at=self._clock(),
            key=batch_key(row, info),
            future=future,
            is_encoded=self._slot.has_seen(row),
            slots=slots_of(row.options) if info.joins else 1,
        )
        self._queue.push(entry)
        self._idle.clear()
        self._feed.note_entry(entry)
        try:
            return await future
        finally:
            self._feed.discard(entry)
            self._note_idle()

    async def drain(self) -> None:
        """Admit no more requests, and wait for those in progress."""
        self._is_draining = True
        self._note_idle()
        await self._idle.wait()

    async def close(self) -> None:
        """Refuse new rows, fail those that wait, end the engine's process. May be called again."""
        if not self._is_closed:
            self._is_closed = True
            self._metrics.forget_queue(self._queue_length)
        fail(self._queue.clear(), unloading())
        await (self._slot.close() if self._feed is None else self._feed.close())

    def _make_feed(self, info: ModelInfo) -> Feed:
        line = Line(
            queue=self._queue,
            slot=self._slot,
            device=self._devices.get(info.device),
            rank=self._rank,
            metrics=self._metrics,
            batch_timeout_s=self._batch_timeout_s or None,
            clock=self._clock,
            note_idle=self._note_idle,
        )
        return SlotFeed(line, info) if info.joins else BatchFeed(line, info, max_batch_s=self._max_batch_s)

    def _check_open(self, *, draining_too: bool = False) -> None:
        if self._is_closed or (draining_too and self._is_draining):
            raise unloading()

    def _note_idle(self) -> None:
        if not (self._requests or self._queue) and (self._feed is None or self._feed.is_idle):
            self._idle.set()
