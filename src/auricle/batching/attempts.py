"""Gets rows through, whatever the engine does: each entry ends with its answer or with an error of its own."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from auricle.batching.engine_slot import EngineSlot, StartedEngine
from auricle.batching.entry import Entry
from auricle.batching.metrics import Metrics
from auricle.batching.queue import Queue
from auricle.batching.replica import BatchNotStarted
from auricle.errors import AuricleError, EngineFailed, EngineOutOfMemory
from auricle.types import Answer, Decoding

_log = logging.getLogger(__name__)

OnBatch = Callable[[Sequence[Entry], float], None]
"""Takes the entries of a batch that was decoded, and its seconds in the engine."""


class Attempts:
    """Sends batches to the engine of a slot; a crash costs a restart and no request.

    ``batch_timeout_s`` bounds the time of a batch; an engine that takes longer is ended as one that hangs.
    """

    def __init__(
        self, slot: EngineSlot, *, batch_timeout_s: float | None, metrics: Metrics, on_batch: OnBatch | None = None
    ) -> None:
        self._slot = slot
        self._batch_timeout_s = batch_timeout_s
        self._metrics = metrics
        self._on_batch = on_batch

    async def decode(self, entries: Sequence[Entry], *, retries: int = 1) -> None:
        """Get every entry its answer or an error of its own. Raises where no engine can be had."""
        entries = [entry for entry in entries if not entry.future.done()]
        if not entries:
            return
        engine = await self._slot.ensure()
        try:
            await self.send(engine, entries)
        except BatchNotStarted:
            await self.decode(entries, retries=retries)
        except EngineOutOfMemory as error:
            await self._halve(entries, error, retries=retries)
        except AuricleError as error:
            _log.warning("a batch of %d rows failed, %d tries left: %s", len(entries), retries, error)
            if retries > 0:
                await self.decode(entries, retries=retries - 1)
            elif len(entries) == 1:
                fail(entries, error)
            else:
                await self.isolate(entries, error)

    async def _halve(self, entries: Sequence[Entry], error: EngineOutOfMemory, *, retries: int) -> None:
        if len(entries) == 1:
            fail(entries, error)
            return
        self._slot.halve(len(entries))
        half = (len(entries) + 1) // 2
        _log.warning("batches have at most %d rows from now on: %s", self._slot.max_rows, error)
        await self.decode(entries[:half], retries=retries)
        await self.decode(entries[half:], retries=retries)

    async def isolate(self, entries: Sequence[Entry], error: AuricleError) -> None:
        """Try rows that failed twice together one by one, so that a bad one fails alone; nothing else may run.

        Where the first two fail too, the fault is not with a row, and the others get ``error`` without the attempt.
        """
        failed = 0
        for number, entry in enumerate(entries):
            if failed == number == 2:
                fail(entries[number:], error)
                return
            await self.decode([entry], retries=0)
            failed += _has_failed(entry)

    async def send(self, engine: StartedEngine, entries: Sequence[Entry], *, together: int | None = None) -> None:
        """Have ``entries`` decoded, once; ``together`` says how many rows share the engine where it is more than these.

        Raises what the engine raises; those that have no answer yet still wait then.
        """
        rows = len(entries) if together is None else together

        def answer(index: int, decoding: Decoding, seconds: float) -> None:
            entry = entries[index]
            queued_s = max(0.0, time.monotonic() - entry.enqueued_at - seconds)
            self._metrics.windows.inc()
            self._metrics.queue_seconds.observe(queued_s)
            self._slot.note_answer()
            if not entry.future.done():
                entry.future.set_result(
                    Answer(decoding=decoding, queued_s=queued_s, inference_s=seconds, batch_rows=rows)
                )

        limit = asyncio.timeout(self._batch_timeout_s)
        try:
            async with limit:
                batch_s = await engine.decode([entry.row for entry in entries], answer)
        except TimeoutError:
            if not limit.expired():
                raise
            # Its thread is somewhere in native code; only the end of the process ends it.
            await engine.close()
            raise EngineFailed(
                f"the engine gave no answer for {self._batch_timeout_s:g} s and was ended (AURICLE_BATCH_TIMEOUT_S)"
            ) from None
        self._metrics.batch_rows.observe(rows)
        self._metrics.inference_seconds.observe(batch_s)
        if self._on_batch is not None:
            self._on_batch(entries, batch_s)


async def answer_or_fail(work: Awaitable[None], entries: Sequence[Entry], queue: Queue) -> None:
    """Wait for ``work`` on ``entries``; what it raises reaches all who wait."""
    try:
        await work
    except AuricleError as error:
        # No engine can be had: a try for each batch that waits would only keep its callers from the news.
        fail([*entries, *queue.clear()], error)
    except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
        _log.exception("a batch failed in an unexpected way")
        fail(entries, EngineFailed(f"the batch failed: {type(error).__name__}: {error}"))


def fail(entries: Sequence[Entry], error: AuricleError) -> None:
    """Give ``error`` to all who still wait."""
    for entry in entries:
        if not entry.future.done():
            entry.future.set_exception(error)


def _has_failed(entry: Entry) -> bool:
    return not entry.future.cancelled() and entry.future.exception() is not None
