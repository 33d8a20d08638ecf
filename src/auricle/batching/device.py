"""Turns on a device that several models share: one engine works at a time.

Two engines on the same cores, or on one GPU, do not get more done than one; they only make both batches late, the
urgent one too. So each scheduler has a seat at its device and asks for a turn; its batch is made when the turn comes,
and holds what has come until then. No lock and no queue of tasks: everything happens in calls on one event loop.

The most urgent class goes first, then the model with the lower rank. Waiting counts: nobody starves.
"""

import asyncio
import time
from collections.abc import Callable

AGEING_S = 5.0
"""So long a wait makes up for one rank: ``tiny`` is about five ranks before ``large``."""


class Seat:
    """One scheduler's place at a device; made by ``Device.join``."""

    def __init__(self, device: "Device", *, rank: float, urgency: Callable[[], int | None], start: Callable[[], None]):
        self._device = device
        self.rank = rank
        self.urgency = urgency
        self.start = start
        self.asked_at: float | None = None

    def ask(self) -> None:
        """Wants a turn; asking again, or while having one, changes nothing."""
        self._device.ask(self)

    def end(self, *, linger_s: float = 0.0) -> None:
        """Gives the turn back; the next one begins after ``linger_s``."""
        self._device.end(self, linger_s)

    def leave(self) -> None:
        """Asks for nothing any more."""
        self._device.leave(self)


class Device:
    """Grants turns to the seats. Belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asking: list[Seat] = []
        self._holder: Seat | None = None
        self._due: asyncio.TimerHandle | None = None

    def join(self, *, rank: float, urgency: Callable[[], int | None], start: Callable[[], None]) -> Seat:
        """A seat; the lower ``rank`` goes first.

        ``urgency`` tells the class of the most urgent entry that waits (the lower is the more urgent), None where there
        is none. ``start`` is called when the turn comes; sooner or later it must be followed by ``Seat.end``.
        """
        return Seat(self, rank=rank, urgency=urgency, start=start)

    @property
    def is_wanted(self) -> bool:
        """Whether a seat waits for its turn."""
        return bool(self._asking)

    def ask(self, seat: Seat) -> None:
        """See ``Seat``."""
        if seat is not self._holder and seat not in self._asking:
            seat.asked_at = self._clock()
            self._asking.append(seat)
            self._call_grant(0.0)

    def end(self, seat: Seat, linger_s: float) -> None:
        """See ``Seat``."""
        if seat is self._holder:
            self._holder = None
            self._call_grant(linger_s)

    def leave(self, seat: Seat) -> None:
        """See ``Seat``."""
        if seat in self._asking:
            self._asking.remove(seat)
        self.end(seat, 0.0)

    def _call_grant(self, delay_s: float) -> None:
        """Grant in a later turn of the loop, so that all who come in this one are considered."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(delay_s, self._grant)

    def _grant(self) -> None:
        self._due = None
        if self._holder is not None:
            return
        now = self._clock()
        first: tuple[int, float] | None = None
        chosen: Seat | None = None
        for seat in list(self._asking):
            urgency = seat.urgency()
            if urgency is None:
                self._asking.remove(seat)
                continue
            waited = now - (seat.asked_at if seat.asked_at is not None else now)
            place = (urgency, seat.rank - waited / AGEING_S)
            if first is None or place < first:
                first, chosen = place, seat
        if chosen is not None:
            self._asking.remove(chosen)
            self._holder = chosen
            chosen.start()


class Devices:
    """The devices of one process, by the name that engines give (``cpu``, ``cuda``)."""

    def __init__(self) -> None:
        self._devices: dict[str, Device] = {}

    def get(self, name: str) -> Device:
        """The device called ``name``, the same for each caller."""
        return self._devices.setdefault(name, Device())
