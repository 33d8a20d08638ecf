"""One engine process as seen from asyncio.

A batch is written to the process at once, by a thread (``outbox``), and its answers come back row by row.
Batches are decoded in the order in which they were sent, unless the one that runs gives way to those that come
meanwhile (``ModelInfo.gives_way``), or rows join and leave at any step (``ModelInfo.joins``): then all are decoded at
once, as far as there are slots. All methods belong to one event loop.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from auricle.batching.outbox import Outbox
from auricle.engines.base import EngineConfig
from auricle.engines.wire import (
    Batch,
    BatchesFailed,
    BatchStarted,
    Drop,
    Load,
    Ready,
    RowDone,
    StartFailed,
    decode_message,
)
from auricle.errors import EngineFailed, EngineOutOfMemory, ModelLoading
from auricle.types import Decoding, ModelInfo, Row

_log = logging.getLogger(__name__)

# -P: a module of the working folder must not stand in for one of the standard library.
_WORKER = ("-P", "-m", "auricle.engines.worker")
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}
"""Threads of numpy would wait for work in a loop, on the cores of the engine's own."""
_CLOSE_GRACE_S = 5.0
_STDERR_KEPT = 4096

AnswerRow = Callable[[int, Decoding, float], None]
"""Index in the batch, its decoding, seconds in the engine."""


class BatchNotStarted(Exception):
    """The process ended while it did not work on this batch, which is thus not the reason."""


class NoRoomTogether(Exception):
    """Memory did not suffice for all rows that had joined, this one among them; fewer at a time may succeed."""

    def __init__(self, slots: int) -> None:
        super().__init__(f"memory did not suffice for {slots} slots")
        self.slots = slots
        """Those that were in use."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Pending:
    left: int
    answer: AnswerRow
    done: asyncio.Future[float]
    is_running: bool = False
    began: float = 0.0


class Replica:
    """An engine in a process of its own. ``start`` it once, ``close`` it in the end, whatever happened between."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._process: Process | None = None
        self._outbox: Outbox | None = None
        self._ready: asyncio.Future[ModelInfo] | None = None
        self._pending: dict[int, _Pending] = {}
        self._batches = 0
        self._is_open = False
        self._stderr = bytearray()
        self._tasks: list[asyncio.Task[None]] = []
        self.load = Load()
        """Of an engine whose rows join, so far."""

    @property
    def alive(self) -> bool:
        """Whether a batch can be sent."""
        return self._is_open and self._process is not None and self._process.returncode is None

    @property
    def info(self) -> ModelInfo:
        """Of the loaded model. Raises ModelLoading before ``start`` has returned."""
        if self._ready is None or not self._ready.done():
            raise ModelLoading("the engine has not started yet")
        return self._ready.result()

    @property
    def pid(self) -> int | None:
        """Of the engine's process, once there is one."""
        return self._process.pid if self._process else None

    async def start(self) -> ModelInfo:
        """Start the process and load the model.

        Raises what the engine raised (EngineNotInstalled, ModelNotFound …), and EngineFailed where the process cannot
        be started or dies. No process is left behind then, nor when the caller is cancelled.
        """
        outbox = self._outbox = Outbox()
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                sys.executable, *_WORKER, stdin=outbox.reader, stdout=PIPE, stderr=PIPE, env=_ENVIRONMENT | os.environ
            )
        except OSError as error:
            raise EngineFailed(f"the engine's process cannot be started: {error}") from error
        finally:
            outbox.close_reader()
            if self._process is None:
                outbox.close()
        self._is_open = True
        self._ready = asyncio.get_running_loop().create_future()
        self._tasks = [
            asyncio.create_task(self._read_stderr(process)),
            asyncio.create_task(self._read_answers(process)),
        ]
        try:
            outbox.send(self._config)
            return await self._ready
        except BaseException:
            await self.close()
            raise

    async def decode(self, rows: Sequence[Row], answer: AnswerRow) -> float:
        """Decode ``rows`` as one batch; ``answer`` is called as each is done. Returns the seconds in the engine.

        Raises EngineOutOfMemory or NoRoomTogether (the replica goes on), EngineFailed (it raised or died in this batch)
        or BatchNotStarted (it ended for another reason). After the latter two it is not alive any more.
        Where rows join, those of a cancelled call leave their slots.
        """
        if not self.alive or self._outbox is None:
            raise BatchNotStarted
        self._batches += 1
        batch = Batch(id=self._batches, rows=tuple(rows))
        pending = _Pending(left=len(rows), answer=answer, done=asyncio.get_running_loop().create_future())
        self._pending[batch.id] = pending
        try:
            self._outbox.send(batch)
            return await pending.done
        except asyncio.CancelledError:
            if self.alive and self.info.joins:
                self._outbox.send(Drop(batch_id=batch.id))
            raise
        finally:
            self._pending.pop(batch.id, None)

    async def close(self) -> None:
        """End the process and wait for it: first by closing its input, then harder."""
        self._is_open = False
        process, outbox = self._process, self._outbox
        if process is None or outbox is None:
            return
        outbox.close()
        for stop in (None, process.terminate, process.kill):
            if stop is not None:
                with contextlib.suppress(ProcessLookupError):
                    stop()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_GRACE_S):
                    await process.wait()
                    break
        await asyncio.gather(*self._tasks)
        await asyncio.to_thread(outbox.join)

    async def _read_answers(self, process: Process) -> None:
        """Hand out answers until the process closes its output, then tell everybody who still waits."""
        assert process.stdout is not None
        try:
            while True:
                self._take(await _read_message(process.stdout))
        except (EOFError, ConnectionError):
            pass
        finally:
            self._is_open = False
            self._fail_all(await self._wait_for_end(process))

    async def _wait_for_end(self, process: Process) -> int:
        try:
            async with asyncio.timeout(_CLOSE_GRACE_S):
                status = await process.wait()
        except TimeoutError:
            process.kill()
            status = await process.wait()
        reading_stderr = self._tasks[0]
        await asyncio.wait([reading_stderr], timeout=1.0)
        reading_stderr.cancel()
        return status

    def _take(self, message: object) -> None:
        match message:
            case Ready(info=info) if self._ready and not self._ready.done():
                self._ready.set_result(info)
            case StartFailed(error=error) if self._ready and not self._ready.done():
                self._ready.set_exception(error)
            case BatchStarted(batch_id=batch_id):
                self._note_start(batch_id)
            case RowDone(batch_id=batch_id) if batch_id in self._pending:
                pending = self._pending[batch_id]
                pending.left -= 1
                self.load = message.load or self.load
                pending.answer(message.index, message.decoding, message.seconds)
                if pending.left == 0 and not pending.done.done():
                    is_whole = message.load is None
                    pending.done.set_result(message.seconds if is_whole else time.monotonic() - pending.began)
            case BatchesFailed(batch_ids=batch_ids, error=error, slots=slots):
                self._is_open = self._is_open and isinstance(error, EngineOutOfMemory)
                for pending in [self._pending[key] for key in batch_ids if key in self._pending]:
                    if not pending.done.done():
                        pending.done.set_exception(NoRoomTogether(slots) if slots else error)
            case _:
                pass  # the answer for a waiter that has left

    def _note_start(self, batch_id: int) -> None:
        if not self.info.joins:
            for pending in self._pending.values():
                pending.is_running = False
        started = self._pending.get(batch_id)
        if started is not None and not started.is_running:
            started.is_running = True
            started.began = time.monotonic()

    def _fail_all(self, status: int) -> None:
        error = EngineFailed(f"the engine's process ended {_describe(status)}{self._last_lines()}")
        if self._ready and not self._ready.done():
            self._ready.set_exception(error)
        for pending in self._pending.values():
            if not pending.done.done():
                pending.done.set_exception(error if pending.is_running else BatchNotStarted())

    async def _read_stderr(self, process: Process) -> None:
        assert process.stderr is not None
        unfinished = b""
        with contextlib.suppress(asyncio.CancelledError):
            while data := await process.stderr.read(_STDERR_KEPT):
                self._stderr = (self._stderr + data)[-_STDERR_KEPT:]
                *lines, unfinished = (unfinished + data).split(b"\n")
                _log_lines(process.pid, lines)
                unfinished = unfinished[-_STDERR_KEPT:]
            _log_lines(process.pid, [unfinished])

    def _last_lines(self) -> str:
        lines = [line for line in self._stderr.decode(errors="replace").splitlines() if line.strip()]
        return "; its last words: " + " | ".join(lines[-3:]) if lines else ""


def _log_lines(pid: int, lines: Sequence[bytes]) -> None:
    for line in lines:
        if line.strip():
            _log.debug("engine %d: %s", pid, line.decode(errors="replace").rstrip())


async def start_replica(config: EngineConfig) -> Replica:
    """A started replica; see ``Replica.start`` for the errors."""
    replica = Replica(config)
    await replica.start()
    return replica


async def _read_message(reader: asyncio.StreamReader) -> object:
    steps = decode_message()
    wanted = next(steps)
    while True:
        data = await reader.readexactly(wanted)
        try:
            wanted = steps.send(data)
        except StopIteration as end:
            return end.value


def _describe(status: int) -> str:
    if status >= 0:
        return f"with exit status {status}"
    try:
        return f"by signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"by signal {-status}"
