"""Main of an engine's process: ``python -m auricle.engines.worker``.

It speaks the messages of ``engines.wire`` over its standard input and output, and ends by itself when its input does:
however the parent dies, no engine stays behind. The engine runs in the main thread, always the same one, while a
second thread reads, so that the next batch is already here when one ends, or goes before it where the engine can pause.
"""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from io import RawIOBase
from queue import Empty, SimpleQueue

from auricle.engines.base import Engine, EngineConfig, Pause, go_on
from auricle.engines.heap import give_freed_memory_back, keep_freed_memory
from auricle.engines.registry import load_engine
from auricle.engines.wire import (
    Batch,
    BatchFailed,
    BatchStarted,
    Ready,
    RowDone,
    StartFailed,
    read_message,
    write_message,
)
from auricle.errors import AuricleError, EngineFailed, EngineOutOfMemory

_NICE = 5
_END_GRACE_S = 0.5
_TRIM_EVERY = 200
"""Batches after which freed memory goes back: kept for good, the heap would grow with every new mix of sizes."""
_HEAD_START_S = 0.25
_LINGER_S = 0.01
"""Whoever got an answer often asks for the next row at once (language, then text)."""

Send = Callable[[object], None]


def serve(inbox: "SimpleQueue[object]", send: Send) -> int:
    """Load the engine that the first message describes, then decode batches until None comes.

    Returns the exit status. An engine that raised is not used again.
    """
    config = inbox.get()
    if not isinstance(config, EngineConfig):
        return 0 if config is None else 2
    try:
        engine = load_engine(config)
        info = engine.info
    except Exception as error:  # noqa: BLE001 - the parent decides what an error means
        traceback.print_exc()
        send(StartFailed(error=_translate(error, f"engine {config.engine!r} could not load {config.model_name!r}")))
        return 1
    if info.device == "cpu" and hasattr(os, "nice"):
        # The engine takes all cores; whoever answers requests and reads audio must still get a turn at once.
        os.nice(_NICE)
    send(Ready(info=info))
    try:
        batches = 0
        while isinstance(batch := inbox.get(), Batch):
            if not _decode(engine, batch, send, _GiveWay(engine, batch, inbox, send)):
                return 1
            batches += 1
            if batches % _TRIM_EVERY == 0:
                give_freed_memory_back()
    finally:
        engine.close()
    return 0


class _EngineUnusableError(Exception):
    """A batch that went first has failed; its own message has said so."""


class _GiveWay:
    """A batch's pauses: those that have come meanwhile go first.

    They get no more time than the batch itself has had, and ``_HEAD_START_S``, so that it gets on whatever comes.
    """

    def __init__(self, engine: Engine, batch: Batch, inbox: "SimpleQueue[object]", send: Send) -> None:
        self._engine = engine
        self._batch = batch
        self._inbox = inbox
        self._send = send
        self._began = time.monotonic()
        self.seconds = 0.0
        """Taken by others."""

    def __call__(self) -> None:
        own_s = time.monotonic() - self._began - self.seconds
        has_waited = False
        while self.seconds < own_s + _HEAD_START_S and (other := self._next(linger=has_waited)) is not None:
            began = time.monotonic()
            if not _decode(self._engine, other, self._send, go_on):
                raise _EngineUnusableError
            self.seconds += time.monotonic() - began
            has_waited = True
        if has_waited:
            self._send(BatchStarted(batch_id=self._batch.id))

    def _next(self, *, linger: bool) -> Batch | None:
        try:
            message = self._inbox.get(timeout=_LINGER_S) if linger else self._inbox.get_nowait()
        except Empty:
            return None
        if isinstance(message, Batch):
            return message
        self._inbox.put(message)
        return None


def _decode(engine: Engine, batch: Batch, send: Send, pause: Pause) -> bool:
    """Answer one batch; False when the engine must not be used again."""
    send(BatchStarted(batch_id=batch.id))
    began = time.monotonic()
    try:
        decodings = engine.decode(batch.rows, pause)
        if len(decodings) != len(batch.rows):
            raise EngineFailed(f"the engine answered {len(decodings)} of {len(batch.rows)} rows")
    except _EngineUnusableError:
        return False
    except Exception as error:  # noqa: BLE001 - the parent decides what an error means
        failure = _translate(error, "the engine raised")
        if isinstance(failure, EngineOutOfMemory):
            send(BatchFailed(batch_id=batch.id, error=failure))
            return True
        traceback.print_exc()
        send(BatchFailed(batch_id=batch.id, error=failure))
        return False
    seconds = time.monotonic() - began - (pause.seconds if isinstance(pause, _GiveWay) else 0.0)
    for index, decoding in enumerate(decodings):
        send(RowDone(batch_id=batch.id, index=index, decoding=decoding, seconds=seconds))
    return True


def _translate(error: Exception, what: str) -> AuricleError:
    if isinstance(error, AuricleError):
        return error
    if _is_out_of_memory(error):
        return EngineOutOfMemory(f"{what}: out of memory ({error})")
    return EngineFailed(f"{what}: {type(error).__name__}: {error}")


def _is_out_of_memory(error: Exception) -> bool:
    """CTranslate2 and torch raise RuntimeErrors that only their text tells apart; std::bad_alloc is a MemoryError."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "alloc_failed" in text


def _read_inbox(pipe: RawIOBase, inbox: "SimpleQueue[object]") -> None:
    try:
        while True:
            inbox.put(read_message(pipe))
    except (EOFError, OSError):
        inbox.put(None)
    # Nobody waits for an answer any more: a load or a batch that still runs is not worth finishing.
    time.sleep(_END_GRACE_S)
    os._exit(0)


def _take_pipes() -> tuple[RawIOBase, RawIOBase]:
    """The two pipes, under descriptors of their own, so that a print in a library cannot corrupt the stream."""
    incoming = os.fdopen(os.dup(0), "rb", buffering=0)
    outgoing = os.fdopen(os.dup(1), "wb", buffering=0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return incoming, outgoing


def main() -> int:
    """Run until the parent closes the pipe; returns the exit status."""
    # Ctrl-C reaches the whole process group; the parent decides when its engines end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    incoming, outgoing = _take_pipes()
    inbox: SimpleQueue[object] = SimpleQueue()
    threading.Thread(target=_read_inbox, args=(incoming, inbox), daemon=True).start()
    try:
        return serve(inbox, partial(write_message, outgoing))
    except BrokenPipeError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
