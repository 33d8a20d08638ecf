"""Rows in, answers out: the Recognizer over one engine process.

No timer: a batch is what gathered while the engine worked. It is made at the last moment, when the scheduler has its
turn on the device. On a GPU one batch is sent ahead while another runs, but only a full one, and only where batches are
short: a partial batch keeps gathering, and behind a long one the transfer (about 0.5 ms a row) would gain nothing,
while an urgent row could not overtake any more. On a CPU it never gains anything; but there an engine may pause in a
batch, and one that should go before it is sent at once.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from auricle.batching.attempts import Attempts, fail
from auricle.batching.device import Device, Devices, Seat
from auricle.batching.engine_slot import EngineSlot, StartEngine, unloading
from auricle.batching.metrics import Metrics
from auricle.batching.pace import Pace
from auricle.batching.queue import Entry, Queue
from auricle.engines.base import batch_key
from auricle.errors import AuricleError, EngineFailed, ModelLoading
from auricle.types import Answer, ModelInfo, RequestInfo, Row

_log = logging.getLogger(__name__)

_SEND_AHEAD_BELOW_S = 1.0
_LINGER = 0.01
"""After a batch the next one is held back by this share of its time: whoever got an answer often asks for the next row
at once (language, then text; window after window), and would else wait for a whole batch of others."""
_MAX_LINGER_S = 0.02


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
        self._clock = clock
        self._queue = Queue()
        self._slot = EngineSlot(start_engine, metrics=metrics, clock=clock)
        self._pace = Pace(max_batch_s=max_batch_s)
        self._attempts = Attempts(
            self._slot, batch_timeout_s=batch_timeout_s or None, metrics=metrics, on_batch=self._note_batch
        )
        self._seat: Seat | None = None
        self._requests = 0
        self._batches: dict[asyncio.Task[None], list[Entry]] = {}
        self._sent_keys: deque[str] = deque()
        """Of the windows that the engine can be taken to hold."""
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
        if self._slot.info is None:
            raise ModelLoading("the model is being loaded; try again", retry_after_s=5.0)
        return self._slot.info

    @property
    def alive(self) -> bool:
        """Whether an engine is loaded and answers."""
        return self._slot.alive

    @property
    def pid(self) -> int | None:
        """Of the engine's process, while there is one."""
        return self._slot.pid

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
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        entry = Entry(
            row=row,
            request=request,
            remaining_s=remaining_s,
            enqueued_at=self._clock(),
            key=batch_key(row, self.info),
            future=future,
            is_encoded=row.key in self._sent_keys,
        )
        self._queue.push(entry)
        if entry.is_prompt:
            self._pace.note_short(entry.enqueued_at)
        self._idle.clear()
        self._ask_for_turn()
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
        fail(self._queue.clear(), unloading())
        await self._slot.close()
        if self._batches:
            await asyncio.wait(self._batches)
        if self._seat is not None:
            self._seat.leave()

    @property
    def _device(self) -> Device:
        return self._devices.get(self.info.device)

    def _check_open(self, *, draining_too: bool = False) -> None:
        if self._is_closed or (draining_too and self._is_draining):
            raise unloading()

    def _note_idle(self) -> None:
        if not (self._requests or self._queue or self._batches):
            self._idle.set()

    def _ask_for_turn(self) -> None:
        if self._seat is None:
            self._seat = self._device.join(
                rank=self._rank, urgency=lambda: self._queue.urgency(self._clock()), start=self._take_turn
            )
        if not self._batches:
            self._seat.ask()
        elif not self._is_due:
            # In the next turn of the loop, so that all rows that come in this one can share a batch.
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._send_beside)

    def _take_turn(self) -> None:
        if self._send():
            self._send_beside()
        elif self._seat is not None:
            self._seat.end()

    def _send_beside(self) -> None:
        """Beside a batch that runs, send one that goes before it, or a full one that follows it at once.

        Neither while another model wants the device, whose turn would come later by it.
        """
        self._is_due = False
        if len(self._batches) != 1 or self._device.is_wanted:
            return
        if self.info.device == "cpu":
            if self.info.gives_way != "never":
                (running,) = self._batches.values()
                self._send(running=running)
        elif self._pace.batch_s < _SEND_AHEAD_BELOW_S:
            self._send(only_full=True)

    def _send(self, *, only_full: bool = False, running: Sequence[Entry] = ()) -> bool:
        now = self._clock()
        max_rows = self._slot.max_rows
        entries = self._queue.take(
            now,
            max_rows,
            only_full=only_full,
            max_long_rows=self._pace.max_long_rows(now, max_rows, self.info, must_share=self._device.is_wanted),
            running=running,
        )
        if not entries:
            return False
        task = asyncio.create_task(self._run_batch(entries))
        self._batches[task] = entries
        self._sent_keys.extend(entry.row.key for entry in entries)
        while len(self._sent_keys) > max_rows:
            self._sent_keys.popleft()
        task.add_done_callback(self._end_batch)
        return True

    def _end_batch(self, task: asyncio.Task[None]) -> None:
        self._batches.pop(task)
        self._note_idle()
        if self._seat is None or self._is_closed:
            return
        if self._batches:
            self._send_beside()
            return
        self._seat.end(linger_s=min(_LINGER * self._pace.batch_s, _MAX_LINGER_S))
        self._seat.ask()

    async def _run_batch(self, entries: Sequence[Entry]) -> None:
        try:
            await self._attempts.decode(entries)
        except AuricleError as error:
            # No engine can be had: a try for each batch that waits would only keep its callers from the news.
            fail([*entries, *self._queue.clear()], error)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            _log.exception("a batch failed in an unexpected way")
            fail(entries, EngineFailed(f"the batch failed: {type(error).__name__}: {error}"))

    def _note_batch(self, entries: Sequence[Entry], seconds: float) -> None:
        is_whole = entries[0].row.options.task != "detect_language"
        self._pace.add_batch(len(entries), seconds, is_whole=is_whole)
