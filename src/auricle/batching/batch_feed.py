"""Batches for an engine that decodes one after the other.

No timer: a batch is what gathered while the engine worked. It is made at the last moment, when the scheduler has its
turn on the device. On a GPU one batch is sent ahead while another runs, but only a full one, and only where batches are
short: a partial batch keeps gathering, and behind a long one the transfer (about 0.5 ms a row) would gain nothing,
while an urgent row could not overtake any more. On a CPU it never gains anything. Where an engine can pause in a batch,
one that should go before it is sent at once instead.
"""

import asyncio
from collections.abc import Sequence

from auricle.batching.attempts import Attempts, answer_or_fail
from auricle.batching.entry import Entry
from auricle.batching.feed import Line
from auricle.batching.pace import Pace
from auricle.types import ModelInfo

_SEND_AHEAD_BELOW_S = 1.0
_LINGER = 0.01
"""After a batch the next one is held back by this share of its time: whoever got an answer often asks for the next row
at once (language, then text; window after window), and would else wait for a whole batch of others."""
_MAX_LINGER_S = 0.02


class BatchFeed:
    """See the module and ``feed.Feed``; ``max_batch_s`` is explained in ``pace``."""

    def __init__(self, line: Line, info: ModelInfo, *, max_batch_s: float) -> None:
        self._queue = line.queue
        self._slot = line.slot
        self._device = line.device
        self._line = line
        self._info = info
        self._pace = Pace(max_batch_s=max_batch_s)
        self._attempts = Attempts(
            line.slot, batch_timeout_s=line.batch_timeout_s, metrics=line.metrics, on_batch=self._note_batch
        )
        self._seat = line.join_device(self._take_turn)
        self._batches: dict[asyncio.Task[None], list[Entry]] = {}
        self._is_due = False
        self._is_closed = False

    @property
    def is_idle(self) -> bool:
        """See Feed."""
        return not self._batches

    def note_entry(self, entry: Entry) -> None:
        """See Feed."""
        if entry.is_prompt:
            self._pace.note_short(entry.enqueued_at)
        if not self._batches:
            self._seat.ask()
        elif not self._is_due:
            # In the next turn of the loop, so that all rows that come in this one can share a batch.
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._send_beside)

    def discard(self, entry: Entry) -> None:
        """See Feed. A batch that runs goes on."""
        self._queue.discard(entry)

    async def close(self) -> None:
        """See Feed."""
        self._is_closed = True
        await self._slot.close()
        if self._batches:
            await asyncio.wait(self._batches)
        self._seat.leave()

    def _take_turn(self) -> None:
        if self._send():
            self._send_beside()
        else:
            self._seat.end()

    def _send_beside(self) -> None:
        """Beside a batch that runs, send one that goes before it, or a full one that follows it at once.

        Neither while another model wants the device, whose turn would come later by it.
        """
        self._is_due = False
        if len(self._batches) != 1 or self._device.is_wanted:
            return
        if self._info.gives_way != "never":
            (running,) = self._batches.values()
            self._send(running=running)
        elif self._info.device != "cpu" and self._pace.batch_s < _SEND_AHEAD_BELOW_S:
            self._send(only_full=True)

    def _send(self, *, only_full: bool = False, running: Sequence[Entry] = ()) -> bool:
        now = self._line.clock()
        max_rows = self._slot.max_rows
        entries = self._queue.take(
            now,
            max_rows,
            only_full=only_full,
            max_long_rows=self._pace.max_long_rows(now, max_rows, self._info, must_share=self._device.is_wanted),
            running=running,
        )
        if not entries:
            return False
        task = asyncio.create_task(answer_or_fail(self._attempts.decode(entries), entries, self._queue))
        self._batches[task] = entries
        self._slot.note_rows([entry.row for entry in entries])
        task.add_done_callback(self._end_batch)
        return True

    def _end_batch(self, task: asyncio.Task[None]) -> None:
        self._batches.pop(task)
        self._line.note_idle()
        if self._is_closed:
            return
        if self._batches:
            self._send_beside()
            return
        self._seat.end(linger_s=min(_LINGER * self._pace.batch_s, _MAX_LINGER_S))
        self._seat.ask()

    def _note_batch(self, entries: Sequence[Entry], seconds: float) -> None:
        is_whole = entries[0].row.options.task != "detect_language"
        self._pace.add_batch(len(entries), seconds, is_whole=is_whole)
