"""The fake engine in a form whose rows join and leave at any step: one token of its answer a step."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from auricle.engines.base import Ticket, slots_of
from auricle.errors import EngineOutOfMemory
from auricle.types import Decoding, ModelInfo, Row


@dataclass(slots=True, kw_only=True, eq=False)
class _Inside:
    row: Row
    slots: int
    decoding: Decoding
    steps_left: int


class FakeSlotEngine:
    """Answers each row as ``answer`` does; ``strike`` is told the rows inside at each step, and may raise."""

    def __init__(
        self,
        info: ModelInfo,
        answer: Callable[[Row], Decoding],
        strike: Callable[[Sequence[Row]], None],
        step_delay_s: float = 0.0,
    ) -> None:
        self._info = info
        self._answer = answer
        self._strike = strike
        self._step_delay_s = step_delay_s
        self._inside: dict[Ticket, _Inside] = {}

    @property
    def info(self) -> ModelInfo:
        """That of the fake engine; 8 slots."""
        return self._info

    @property
    def is_empty(self) -> bool:
        """See SlotEngine."""
        return not self._inside

    @property
    def slots_used(self) -> int:
        """See SlotEngine."""
        return sum(inside.slots for inside in self._inside.values())

    def join(self, waiting: Sequence[tuple[Ticket, Row]]) -> int:
        """See SlotEngine."""
        free = self._info.max_batch - self.slots_used
        for number, (ticket, row) in enumerate(waiting):
            slots = slots_of(row.options)
            if slots > self._info.max_batch and number == 0:
                raise EngineOutOfMemory(f"the fake engine has {self._info.max_batch} slots, a row needs {slots}")
            if slots > free:
                return number
            free -= slots
            decoding = self._answer(row)
            # The last step gives the end token; a language is known at once.
            steps = len(decoding.tokens) + 1
            self._inside[ticket] = _Inside(row=row, slots=slots, decoding=decoding, steps_left=steps)
        return len(waiting)

    def step(self) -> list[tuple[Ticket, Decoding]]:
        """See SlotEngine."""
        time.sleep(self._step_delay_s)
        self._strike([inside.row for inside in self._inside.values()])
        for inside in self._inside.values():
            inside.steps_left -= 1
        done = [(ticket, inside.decoding) for ticket, inside in self._inside.items() if inside.steps_left == 0]
        self.drop([ticket for ticket, _ in done])
        return done

    def drop(self, tickets: Sequence[Ticket]) -> None:
        """See SlotEngine."""
        for ticket in tickets:
            self._inside.pop(ticket, None)

    def clear(self) -> None:
        """See SlotEngine."""
        self._inside.clear()

    def close(self) -> None:
        """Nothing is held."""
