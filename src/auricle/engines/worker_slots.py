"""The loop of an engine's process where rows join and leave at any step."""

import time
import traceback
from collections.abc import Hashable
from dataclasses import dataclass
from queue import SimpleQueue

from auricle.engines.base import SlotEngine, Ticket, slots_of
from auricle.engines.heap import give_freed_memory_back
from auricle.engines.wire import Batch, BatchesFailed, BatchStarted, Drop, Load, RowDone, Send
from auricle.engines.worker_failures import translate
from auricle.errors import AuricleError, EngineFailed, EngineOutOfMemory
from auricle.types import Row

_TRIM_EVERY = 500
"""Rows after which freed memory goes back: kept for good, the heap would grow with every new mix of sizes."""


def serve_slots(engine: SlotEngine, inbox: "SimpleQueue[object]", send: Send) -> int:
    """Keep the slots of ``engine`` full until None comes; returns the exit status.

    Where memory does not suffice, the rows inside fail; after any other exception the engine is not used again.
    """
    rows = _Rows(engine, send)
    while True:
        try:
            if not rows.take(inbox):
                return 0
            rows.join()
            rows.step()
        except Exception as error:  # noqa: BLE001 - the parent decides what an error means
            failure = translate(error, "the engine raised")
            if not isinstance(failure, EngineOutOfMemory):
                traceback.print_exc()
                rows.fail(failure)
                return 1
            rows.fail_for_want_of_memory(failure)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inside:
    batch_id: int
    index: int
    slots: int
    joined_at: float


class _Rows:
    """Those that wait and those inside, by their tickets: the numbers of the batch, and of the row in it."""

    def __init__(self, engine: SlotEngine, send: Send) -> None:
        self._engine = engine
        self._send = send
        self._slots = engine.info.max_batch
        self._waiting: dict[tuple[int, int], Row] = {}
        self._inside: dict[Hashable, _Inside] = {}
        self._is_short_of_memory = False
        """One that joins has to wait for another to leave."""
        self._joining: list[int] = []
        """Batches of the rows that the engine is taking in just now."""
        self._steps = 0
        self._slot_steps = 0
        self._answers = 0

    def take(self, inbox: "SimpleQueue[object]") -> bool:
        """Take what has come, or wait for it where there is nothing to do; False at the end."""
        while not (self._waiting or self._inside) or not inbox.empty():
            message = inbox.get()
            if isinstance(message, Batch):
                self._waiting.update({(message.id, index): row for index, row in enumerate(message.rows)})
            elif isinstance(message, Drop):
                self._drop(message.batch_id)
            else:
                return False
        return True

    def join(self) -> None:
        """Let those in that there is room for."""
        offered = [] if self._is_short_of_memory else self._first_that_fit()
        if not offered:
            return
        self._joining = list(dict.fromkeys(batch_id for (batch_id, _), _ in offered))
        for batch_id in self._joining:
            # Said before: should the process die of them, nobody else is to blame.
            self._send(BatchStarted(batch_id=batch_id))
        began = time.monotonic()
        for ticket, row in offered[: self._offer(offered)]:
            del self._waiting[ticket]
            batch_id, index = ticket
            self._inside[ticket] = _Inside(batch_id=batch_id, index=index, slots=slots_of(row.options), joined_at=began)
        if not self._inside and offered[0][0] in self._waiting:
            raise EngineFailed("the engine has taken none of the rows that wait, although it is empty")
        self._joining = []

    def step(self) -> None:
        """One token for those inside; the answers of those that are done."""
        if not self._inside:
            return
        used = self._engine.slots_used
        self._steps += used > 0
        self._slot_steps += used
        done = self._engine.step()
        now = time.monotonic()
        for ticket, decoding in done:
            row = self._leave(ticket)
            if row is None:
                continue
            load = Load(steps=self._steps, slot_steps=self._slot_steps)
            seconds = now - row.joined_at
            self._send(RowDone(batch_id=row.batch_id, index=row.index, decoding=decoding, seconds=seconds, load=load))
            self._answers += 1
            if self._answers % _TRIM_EVERY == 0:
                give_freed_memory_back()
        if self._inside and self._engine.is_empty:
            raise EngineFailed(f"the engine has lost {len(self._inside)} rows")

    def fail(self, error: AuricleError) -> None:
        """Whatever runs has failed; what waits has not begun."""
        ids = dict.fromkeys([*(row.batch_id for row in self._inside.values()), *self._joining])
        self._send(BatchesFailed(batch_ids=tuple(ids), error=error))

    def fail_for_want_of_memory(self, error: EngineOutOfMemory) -> None:
        """The rows inside were too many together, or the only one is too large; others may come."""
        self._engine.clear()
        self._slots = self._engine.info.max_batch
        inside = list(self._inside.values())
        self._inside.clear()
        self._is_short_of_memory = False
        ids = tuple(dict.fromkeys(row.batch_id for row in inside))
        self._forget(ids)
        slots = sum(row.slots for row in inside) if len(inside) > 1 else 0
        self._send(BatchesFailed(batch_ids=ids, error=error, slots=slots))

    def _first_that_fit(self) -> list[tuple[tuple[int, int], Row]]:
        """In the order of arrival; at least one where the engine is empty, which has to say that it is too large."""
        offered: list[tuple[tuple[int, int], Row]] = []
        if not self._waiting:
            return offered
        free = self._slots - self._engine.slots_used
        for ticket, row in self._waiting.items():
            free -= slots_of(row.options)
            if free < 0 and (self._inside or offered):
                break
            offered.append((ticket, row))
        return offered

    def _offer(self, offered: list[tuple[tuple[int, int], Row]]) -> int:
        """How many have joined; where memory is short, fewer at once, in the end none before others leave."""
        try:
            return self._engine.join(offered)
        except (AuricleError, RuntimeError, MemoryError) as error:
            failure = translate(error, "the engine raised")
            if not isinstance(failure, EngineOutOfMemory):
                raise
            if len(offered) > 1:
                return self._offer(offered[: len(offered) // 2])
            if self._inside:
                self._is_short_of_memory = True
            else:
                batch_id = offered[0][0][0]
                self._forget((batch_id,))
                self._send(BatchesFailed(batch_ids=(batch_id,), error=failure))
            return 0

    def _drop(self, batch_id: int) -> None:
        tickets: list[Ticket] = [ticket for ticket, row in self._inside.items() if row.batch_id == batch_id]
        self._forget((batch_id,))
        self._engine.drop(tickets)
        for ticket in tickets:
            self._leave(ticket)

    def _leave(self, ticket: Ticket) -> _Inside | None:
        row = self._inside.pop(ticket, None)
        if row is not None:
            self._is_short_of_memory = False
        return row

    def _forget(self, batch_ids: tuple[int, ...]) -> None:
        """No row of these batches joins any more."""
        for ticket in [ticket for ticket in self._waiting if ticket[0] in batch_ids]:
            del self._waiting[ticket]
