"""Which rows join an engine whose rows join and leave at any step. No thread, no clock and no event loop inside.

1. Rows join in the order of ``queue``, as long as there are slots.
2. A request holds at most half of the slots while others wait.
3. A row that does not fit, since it has more beams than there are free slots, is passed by smaller ones, so that no
   slot stays empty; but by no more than fill all slots once. Then nothing joins before it.
4. On a CPU, where each row costs an encoding of its own, no row of a long request joins while one is inside whose
   answer somebody waits for. It too is passed by short ones as often as that, and then joins.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from auricle.batching.entry import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is left of an engine's slots."""

    slots: int
    """All of them."""
    free: int
    """Fewer than none where rows were sent ahead."""
    ahead: int = 0
    """Slots of rows that may be sent before there are slots for them."""
    is_empty: bool
    """Whether no row is inside: then the first fits, whatever its size."""
    held: Mapping[str, int]
    """Slots by the id of the request that has them."""
    spares_prompts: bool = False
    """Whether rule 4 holds."""
    has_prompt: bool = False
    """Whether a row is inside whose answer somebody waits for."""


def choose(ordered: Iterator[Entry], room: Room, passed: Counter[Entry]) -> list[Entry]:
    """Those of ``ordered`` that join now, in order; ``passed`` counts the slots that went past an entry."""
    joining = _Joining(room, passed)
    beyond_half: list[Entry] = []
    for entry in ordered:
        if joining.is_full:
            break
        if joining.is_beyond_half(entry):
            beyond_half.append(entry)
        else:
            joining.consider(entry)
    for entry in beyond_half:
        if joining.is_full:
            break
        joining.consider(entry)
    return joining.entries


class _Joining:
    def __init__(self, room: Room, passed: Counter[Entry]) -> None:
        self._room = room
        self._passed = passed
        self._free = room.free
        self._held = Counter(room.held)
        self._has_prompt = room.has_prompt
        self._left_behind: Entry | None = None
        """The first that did not join."""
        self.entries: list[Entry] = []

    @property
    def is_full(self) -> bool:
        """Whether nothing more joins, since there is no slot, or since the first left behind was passed enough."""
        behind = self._left_behind
        has_waited = behind is not None and self._passed[behind] >= self._room.slots
        return has_waited or (self._free + self._room.ahead <= 0 and not self._is_empty)

    def is_beyond_half(self, entry: Entry) -> bool:
        """Whether its request would hold more than half of the slots."""
        half = max(entry.slots, self._room.slots // 2)
        return self._held[entry.request.request_id] + entry.slots > half

    def consider(self, entry: Entry) -> None:
        """Let it join, or leave it behind."""
        if not self._fits(entry):
            self._left_behind = self._left_behind or entry
            return
        self.entries.append(entry)
        self._free -= entry.slots
        self._held[entry.request.request_id] += entry.slots
        self._has_prompt = self._has_prompt or entry.is_prompt
        if self._left_behind is not None:
            self._passed[self._left_behind] += entry.slots

    @property
    def _is_empty(self) -> bool:
        return self._room.is_empty and not self.entries

    def _fits(self, entry: Entry) -> bool:
        # What is sent ahead stands in the way of all behind it until it fits, so it must not be large.
        fits = entry.slots <= self._free or entry.slots <= min(self._free + self._room.ahead, self._room.ahead)
        if not fits and not self._is_empty:
            return False
        if not self._room.spares_prompts or not self._has_prompt or entry.is_short:
            return True
        return self._passed[entry] >= self._room.slots
