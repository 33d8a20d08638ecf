"""Rows in, answers out: makes batches of what waits, and gets them through whatever the engine does.

No timer: a batch is what gathered while the engine worked. One batch is sent ahead while another runs, but only a full
one, and only where batches are short: a partial batch keeps gathering, and behind a long one the transfer (about
0.5 ms a row) would gain nothing, while an urgent row could not overtake any more.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from auricle.batching.metrics import Metrics
from auricle.batching.queue import Entry, Queue
from auricle.batching.replica import AnswerRow, BatchNotStarted
from auricle.engines.base import batch_key
from auricle.errors import AuricleError, Busy, EngineFailed, EngineOutOfMemory, ModelLoading, QueueFull
from auricle.types import Answer, Decoding, ModelInfo, RequestInfo, Row

_log = logging.getLogger(__name__)

_SEND_AHEAD_BELOW_S = 1.0


class Recognizer(Protocol):
    """Where the pipeline has its rows decoded: a ``Scheduler`` here, a handle to many of them on a cluster."""

    @property
    def info(self) -> ModelInfo:
        """Of the loaded model. Raises ModelLoading before it is."""
        ...

    def admit(self, request: RequestInfo) -> AbstractContextManager[None]:
        """Spans a request from first to last. Raises QueueFull where too many are in progress."""
        ...

    async def decode(self, row: Row, request: RequestInfo, *, remaining_s: float) -> Answer:
        """Decode ``row``; ``remaining_s`` is the audio that the request has still to do.

        Raises an EngineError, DeadlineExceeded or Busy. A cancelled call gives up its place at once.
        """
        ...


class StartedEngine(Protocol):
    """What the scheduler needs of a ``replica.Replica``."""

    @property
    def alive(self) -> bool: ...
    @property
    def info(self) -> ModelInfo: ...
    @property
    def pid(self) -> int | None: ...
    async def decode(self, rows: Sequence[Row], answer: AnswerRow) -> float: ...
    async def close(self) -> None: ...


class Scheduler:
    """The Recognizer over one engine process. All methods belong to one event loop.

    ``start_engine`` gives a started engine each time it is called: at first use, and after a crash.
    """

    def __init__(
        self, start_engine: Callable[[], Awaitable[StartedEngine]], *, max_requests: int, metrics: Metrics
    ) -> None:
        self._start_engine = start_engine
        self._max_requests = max_requests
        self._metrics = metrics
        self._queue = Queue()
        self._engine: StartedEngine | None = None
        self._starting: asyncio.Task[StartedEngine] | None = None
        self._info: ModelInfo | None = None
        self._max_rows = 0
        self._requests = 0
        self._batches: set[asyncio.Task[None]] = set()
        self._batch_s = 0.0
        self._row_s = 0.0
        self._is_due = False
        self._is_draining = False
        self._is_closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._queue_length = self._queue.__len__
        metrics.watch_queue(self._queue_length)

    @property
    def info(self) -> ModelInfo:
        """See Recognizer."""
        if self._info is None:
            raise ModelLoading("the model is being loaded; try again", retry_after_s=5.0)
        return self._info

    @property
    def alive(self) -> bool:
        """Whether an engine is loaded and answers."""
        return self._engine is not None and self._engine.alive

    @property
    def pid(self) -> int | None:
        """Of the engine's process, while there is one."""
        return self._engine.pid if self._engine is not None and self._engine.alive else None

    async def start(self) -> ModelInfo:
        """Load the model unless it is loaded. Raises what loading raises; the next call tries again."""
        return (await self._ensure_engine()).info

    @contextmanager
    def admit(self, request: RequestInfo) -> Generator[None]:
        """See Recognizer."""
        status = "ok"
        try:
            self._check_open(draining_too=True)
            if self._requests >= self._max_requests:
                wait_s = max(1.0, math.ceil(len(self._queue) * self._row_s))
                raise QueueFull(
                    f"{self._requests} transcriptions are in progress, which is the limit; try again in {wait_s:.0f} s",
                    retry_after_s=wait_s,
                )
            self._requests += 1
            self._idle.clear()
            try:
                yield
            finally:
                self._requests -= 1
                self._note_idle()
        except asyncio.CancelledError:
            status = "cancelled"
            raise
        except AuricleError as error:
            status = error.code
            raise
        except BaseException:
            status = AuricleError.code
            raise
        finally:
            self._metrics.requests.labels(status=status).inc()

    async def decode(self, row: Row, request: RequestInfo, *, remaining_s: float) -> Answer:
        """See Recognizer."""
        self._check_open()
        if self._info is None:
            await self.start()
            self._check_open()
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        entry = Entry(
            row=row,
            request=request,
            remaining_s=remaining_s,
            enqueued_at=time.monotonic(),
            key=batch_key(row, self.info),
            future=future,
        )
        self._queue.push(entry)
        self._idle.clear()
        self._call_dispatch()
        try:
            return await future
        finally:
            self._queue.discard(entry)
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
        _fail(self._queue.clear(), _unloading())
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        if self._engine is not None:
            await self._engine.close()
        if self._batches:
            await asyncio.wait(self._batches)

    def _check_open(self, *, draining_too: bool = False) -> None:
        if self._is_closed or (draining_too and self._is_draining):
            raise _unloading()

    def _note_idle(self) -> None:
        if not (self._requests or self._queue or self._batches):
            self._idle.set()

    def _call_dispatch(self) -> None:
        """Make batches in the next turn of the loop, so that all rows that come in this turn can share one."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._is_due = False
        while len(self._batches) < (2 if self._batch_s < _SEND_AHEAD_BELOW_S else 1):
            entries = self._queue.take(time.monotonic(), self._max_rows, only_full=bool(self._batches))
            if not entries:
                break
            task = asyncio.create_task(self._run_batch(entries))
            self._batches.add(task)
            task.add_done_callback(self._end_batch)

    def _end_batch(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        self._note_idle()
        if not self._is_closed:
            self._call_dispatch()

    async def _run_batch(self, entries: Sequence[Entry]) -> None:
        try:
            await self._decode(entries, retries=1)
        except AuricleError as error:
            # No engine can be had: a try for each batch that waits would only keep its callers from the news.
            _fail([*entries, *self._queue.clear()], error)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            _log.exception("a batch failed in an unexpected way")
            _fail(entries, EngineFailed(f"the batch failed: {type(error).__name__}: {error}"))

    async def _decode(self, entries: Sequence[Entry], *, retries: int) -> None:
        """Get every entry its answer or an error of its own. Raises where no engine can be had."""
        entries = [entry for entry in entries if not entry.future.done()]
        if not entries:
            return
        engine = await self._ensure_engine()
        try:
            await self._send(engine, entries)
        except BatchNotStarted:
            await self._decode(entries, retries=retries)
        except EngineOutOfMemory as error:
            await self._halve(entries, error, retries=retries)
        except AuricleError as error:
            _log.warning("a batch of %d rows failed, %d tries left: %s", len(entries), retries, error)
            if retries > 0:
                await self._decode(entries, retries=retries - 1)
            else:
                await self._isolate(entries, error)

    async def _halve(self, entries: Sequence[Entry], error: EngineOutOfMemory, *, retries: int) -> None:
        if len(entries) == 1:
            _fail(entries, error)
            return
        half = (len(entries) + 1) // 2
        self._max_rows = min(self._max_rows, half)
        _log.warning("batches have at most %d rows from now on: %s", self._max_rows, error)
        await self._decode(entries[:half], retries=retries)
        await self._decode(entries[half:], retries=retries)

    async def _isolate(self, entries: Sequence[Entry], error: AuricleError) -> None:
        """Try the rows of a batch that failed twice one by one, so that a bad row fails alone.

        Where the first two fail too, the fault is not with a row, and the others are spared the attempt.
        """
        if len(entries) == 1:
            _fail(entries, error)
            return
        failed = 0
        for number, entry in enumerate(entries):
            if failed == number == 2:
                _fail(entries[number:], error)
                return
            await self._decode([entry], retries=0)
            failed += _has_failed(entry)

    async def _send(self, engine: StartedEngine, entries: Sequence[Entry]) -> None:
        def answer(index: int, decoding: Decoding, seconds: float) -> None:
            entry = entries[index]
            queued_s = max(0.0, time.monotonic() - entry.enqueued_at - seconds)
            self._metrics.windows.inc()
            self._metrics.queue_seconds.observe(queued_s)
            if not entry.future.done():
                entry.future.set_result(
                    Answer(decoding=decoding, queued_s=queued_s, inference_s=seconds, batch_rows=len(entries))
                )

        self._batch_s = await engine.decode([entry.row for entry in entries], answer)
        self._row_s = self._batch_s / len(entries)
        self._metrics.batch_rows.observe(len(entries))
        self._metrics.inference_seconds.observe(self._batch_s)

    async def _ensure_engine(self) -> StartedEngine:
        if self._engine is not None and self._engine.alive:
            return self._engine
        self._check_open()
        if self._starting is None:
            self._starting = asyncio.create_task(self._replace_engine())
            self._starting.add_done_callback(_hear)
        starting = self._starting
        await asyncio.wait([starting])  # unlike awaiting it, this leaves it running when one waiter leaves
        if starting.cancelled():
            raise _unloading()
        return starting.result()

    async def _replace_engine(self) -> StartedEngine:
        try:
            if self._engine is not None:
                self._metrics.engine_restarts.inc()
                await self._engine.close()
            engine = self._engine = await self._start_engine()
            self._info = engine.info
            self._max_rows = min(self._max_rows or engine.info.max_batch, engine.info.max_batch)
            return engine
        finally:
            self._starting = None


def _unloading() -> Busy:
    return Busy("the model is being unloaded; try again", retry_after_s=5.0)


def _fail(entries: Sequence[Entry], error: AuricleError) -> None:
    for entry in entries:
        if not entry.future.done():
            entry.future.set_exception(error)


def _has_failed(entry: Entry) -> bool:
    return not entry.future.cancelled() and entry.future.exception() is not None


def _hear(task: asyncio.Task[StartedEngine]) -> None:
    """Take note of a failed start that nobody waits for any more; asyncio would complain."""
    if not task.cancelled():
        task.exception()
