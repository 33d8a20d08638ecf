"""The loop of an engine's process that decodes batch after batch, where one may give way to another."""

import time
import traceback
from queue import Empty, SimpleQueue

from auricle.engines.base import Engine, Pause, go_on
from auricle.engines.heap import give_freed_memory_back
from auricle.engines.wire import Batch, BatchesFailed, BatchStarted, RowDone, Send
from auricle.engines.worker_failures import translate
from auricle.errors import EngineFailed, EngineOutOfMemory

_TRIM_EVERY = 50
"""Batches after which freed memory goes back: kept for good, the heap would grow with every new mix of sizes."""
_HEAD_START_S = 0.25
_LINGER_S = 0.01
"""Whoever got an answer often asks for the next row at once (language, then text)."""


def serve_batches(engine: Engine, inbox: "SimpleQueue[object]", send: Send) -> int:
    """Decode batches until None comes; returns the exit status. An engine that raised is not used again."""
    batches = 0
    while isinstance(batch := inbox.get(), Batch):
        if not _decode(engine, batch, send, _GiveWay(engine, batch, inbox, send)):
            return 1
        batches += 1
        if batches % _TRIM_EVERY == 0:
            give_freed_memory_back()
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
        failure = translate(error, "the engine raised")
        if not isinstance(failure, EngineOutOfMemory):
            traceback.print_exc()
        send(BatchesFailed(batch_ids=(batch.id,), error=failure))
        return isinstance(failure, EngineOutOfMemory)
    seconds = time.monotonic() - began - (pause.seconds if isinstance(pause, _GiveWay) else 0.0)
    for index, decoding in enumerate(decodings):
        send(RowDone(batch_id=batch.id, index=index, decoding=decoding, seconds=seconds))
    return True
