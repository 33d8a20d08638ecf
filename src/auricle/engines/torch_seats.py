"""Which slots are taken, and whose window each holds. Steps are done by the first slots, so these are given first."""

from collections.abc import Callable, Sequence

_PATIENCE = 4
"""Steps that empty slots below the last row are borne: a row that joins fills them at no cost, while one that moves is
copied with its window, which takes about as long as that."""


class Seats:
    """The slots 0 … ``slots`` - 1."""

    def __init__(self, slots: int) -> None:
        self._keys: list[str | None] = [None] * slots
        self._is_free = [True] * slots
        self._loose_steps = 0

    @property
    def taken(self) -> int:
        """How many are."""
        return self._is_free.count(False)

    def take(self, count: int, key: str) -> list[int]:
        """``count`` slots for a row whose window has ``key``: those that hold it, then the first; none where there are
        not as many.
        """
        free = [slot for slot, is_free in enumerate(self._is_free) if is_free]
        if len(free) < count:
            return []
        slots = sorted(free, key=lambda slot: (self._keys[slot] != key, slot))[:count]
        for slot in slots:
            self._is_free[slot] = False
            if self._keys[slot] != key:
                self._keys[slot] = None
        return slots

    def free(self, slots: Sequence[int]) -> None:
        """Nobody is in them any more; they still hold the window."""
        for slot in slots:
            self._is_free[slot] = True

    def holders(self, key: str) -> list[int]:
        """Slots that hold the window of ``key``, taken or not."""
        return [slot for slot, held in enumerate(self._keys) if held == key]

    def hold(self, slots: Sequence[int], key: str) -> None:
        """They hold the window of ``key`` now."""
        for slot in slots:
            self._keys[slot] = key

    def next_move(self, width_of: Callable[[int], int]) -> tuple[int, int] | None:
        """The last slot that is taken and the first that is free, where steps would be narrower after moving rows up.

        ``width_of`` tells how many slots a step does for so many; asked once before each step.
        """
        taken = [slot for slot, is_free in enumerate(self._is_free) if not is_free]
        is_loose = bool(taken) and width_of(taken[-1] + 1) > width_of(len(taken))
        self._loose_steps = self._loose_steps + 1 if is_loose else 0
        if self._loose_steps < _PATIENCE:
            return None
        return taken[-1], self._is_free.index(True)

    def move(self, source: int, target: int) -> None:
        """The row in ``source`` sits in ``target`` now."""
        self._keys[target] = self._keys[source]
        self._is_free[source], self._is_free[target] = True, False
