"""Keeps the slots of an engine full whose rows join and leave at any step.

Each row is sent by itself: when it comes, or when another one has left, and a few of them before a slot is free, so
that the engine need not wait for the next row. While another model wants the device, none is sent; the turn ends when
the engine is empty.

When an engine dies, each row that had joined may be why. It waits in the queue again; one with which a second engine
dies is tried alone, after all others have left, so that a bad row fails alone.
"""

import asyncio
import logging
from collections import Counter
from functools import partial

from auricle.batching.attempts import Attempts, answer_or_fail, fail
from auricle.batching.engine_slot import StartedEngine, unloading
from auricle.batching.entry import Entry
from auricle.batching.feed import Line
from auricle.batching.replica import BatchNotStarted, NoRoomTogether
from auricle.batching.slot_order import Room
from auricle.engines.wire import Load
from auricle.errors import AuricleError, EngineOutOfMemory
from auricle.types import ModelInfo

_log = logging.getLogger(__name__)

_AHEAD = 16
"""One slot of so many is sent ahead: an answer and the row after it are under way for some steps of about fifty. What
waits in the engine's process cannot be overtaken."""
_LINGER_S = 0.02
"""Time for who got the last answer to ask for the next row, before another model has its turn."""


class SlotFeed:
    """See the module and ``feed.Feed``."""

    def __init__(self, line: Line, info: ModelInfo) -> None:
        self._queue = line.queue
        self._slot = line.slot
        self._device = line.device
        self._metrics = line.metrics
        self._line = line
        self._is_on_cpu = info.device == "cpu"
        self._attempts = Attempts(line.slot, batch_timeout_s=line.batch_timeout_s, metrics=line.metrics)
        self._seat = line.join_device(self._take_turn)
        self._inside: dict[Entry, asyncio.Task[None]] = {}
        """Rows that were sent, those ahead among them."""
        self._used = 0
        self._held: Counter[str] = Counter()
        self._prompts = 0
        self._survivors: set[Entry] = set()
        """An engine has died with them inside."""
        self._suspects: list[Entry] = []
        """Two engines have."""
        self._error: AuricleError | None = None
        """Of which the last engine died."""
        self._trial: asyncio.Task[None] | None = None
        """Of the suspects, one by one."""
        self._has_turn = False
        self._is_due = False
        self._is_closed = False
        self._counted: tuple[StartedEngine | None, Load] = (None, Load())
        self._usage = lambda: (min(self._used, self._slot.max_rows), self._slot.max_rows)
        line.metrics.watch_slots(self._usage)

    @property
    def is_idle(self) -> bool:
        """See Feed."""
        return not self._inside and self._trial is None

    def note_entry(self, entry: Entry) -> None:
        """See Feed."""
        self._wake()

    def discard(self, entry: Entry) -> None:
        """See Feed. A row inside leaves."""
        self._queue.discard(entry)
        self._survivors.discard(entry)
        if entry.future.cancelled() and entry in self._inside:
            self._inside[entry].cancel()

    async def close(self) -> None:
        """See Feed."""
        if not self._is_closed:
            self._is_closed = True
            self._metrics.forget_slots(self._usage)
        await self._slot.close()
        running = [*self._inside.values(), *([self._trial] if self._trial else [])]
        if running:
            await asyncio.wait(running)
        fail([*self._queue.clear(), *self._suspects], unloading())
        self._seat.leave()

    def _wake(self) -> None:
        """Fill the slots in the next turn of the loop, so that all that come or leave in this one are considered."""
        if not self._has_turn:
            self._seat.ask()
        elif not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._fill_on)

    def _take_turn(self) -> None:
        self._has_turn = True
        self._fill()
        self._end_turn_if_idle()

    def _fill_on(self) -> None:
        self._is_due = False
        if self._has_turn and not self._device.is_wanted:
            self._fill()

    def _fill(self) -> None:
        if self._suspects or self._trial is not None or self._is_closed:
            return
        slots = self._slot.max_rows
        room = Room(
            slots=slots,
            free=slots - self._used,
            ahead=max(1, slots // _AHEAD),
            is_empty=not self._inside,
            held=self._held,
            spares_prompts=self._is_on_cpu,
            has_prompt=self._prompts > 0,
        )
        for entry in self._queue.fill(self._line.clock(), room):
            task = asyncio.create_task(answer_or_fail(self._run(entry), [entry], self._queue))
            self._inside[entry] = task
            self._account(entry, 1)
            self._slot.note_rows([entry.row])
            task.add_done_callback(partial(self._end_row, entry))

    async def _run(self, entry: Entry) -> None:
        engine = await self._slot.ensure()
        try:
            await self._attempts.send(engine, [entry], together=len(self._inside))
        except BatchNotStarted:
            self._put_back(entry)
        except NoRoomTogether as error:
            self._slot.halve(error.slots)
            _log.warning("at most %d slots are used from now on: %s", self._slot.max_rows, error)
            self._put_back(entry)
        except EngineOutOfMemory as error:
            fail([entry], error)
        except AuricleError as error:
            self._note_death(entry, error)
        self._count_steps(engine)

    def _note_death(self, entry: Entry, error: AuricleError) -> None:
        if error is not self._error:
            _log.warning("the engine failed with rows inside, which are tried again: %s", error)
        self._error = error
        if entry in self._survivors:
            self._suspects.append(entry)
        else:
            self._survivors.add(entry)
            self._put_back(entry)

    def _put_back(self, entry: Entry) -> None:
        if not entry.future.done():
            self._queue.push(entry)

    def _end_row(self, entry: Entry, task: asyncio.Task[None]) -> None:
        del self._inside[entry]
        self._account(entry, -1)
        self._line.note_idle()
        if self._inside:
            self._wake()
        elif self._suspects and self._error is not None and not self._is_closed:
            suspects, self._suspects = self._suspects, []
            work = self._attempts.isolate(suspects, self._error)
            self._trial = asyncio.create_task(answer_or_fail(work, suspects, self._queue))
            self._trial.add_done_callback(self._end_trial)
        else:
            self._end_turn_if_idle()

    def _end_trial(self, task: asyncio.Task[None]) -> None:
        self._trial = None
        self._line.note_idle()
        self._end_turn_if_idle()

    def _end_turn_if_idle(self) -> None:
        if not self.is_idle or self._is_closed:
            return
        self._has_turn = False
        self._seat.end(linger_s=_LINGER_S if self._device.is_wanted else 0.0)
        if self._queue:
            self._seat.ask()

    def _account(self, entry: Entry, sign: int) -> None:
        self._used += sign * entry.slots
        self._prompts += sign * entry.is_prompt
        request_id = entry.request.request_id
        self._held[request_id] += sign * entry.slots
        if not self._held[request_id]:
            del self._held[request_id]

    def _count_steps(self, engine: StartedEngine) -> None:
        counted_of, before = self._counted
        load = engine.load
        if counted_of is not engine:
            before = Load()
        self._metrics.steps.inc(load.steps - before.steps)
        self._metrics.slot_steps.inc(load.slot_steps - before.slot_steps)
        self._counted = (engine, load)
