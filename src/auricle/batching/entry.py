"""A row that waits for its turn."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

from auricle.types import Answer, Priority, RequestInfo, Row

PROMOTE_BATCH_S = 60.0
"""After this wait an entry of the batch class counts as interactive."""
PROMOTE_ALL_S = 300.0
"""After this wait every entry counts as realtime."""
AGEING = 30.0
"""Seconds of audio that a second of waiting weighs."""
SHORT_S = 30.0
"""A request of so little audio is one window: the answer is near, and somebody waits for it."""


class Waiter(Protocol):
    """What the queue needs of a future."""

    def done(self) -> bool: ...
    def cancelled(self) -> bool: ...
    def exception(self) -> BaseException | None: ...
    def set_result(self, result: Answer, /) -> None: ...
    def set_exception(self, exception: BaseException, /) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """See the module."""

    row: Row
    request: RequestInfo
    remaining_s: float
    """Audio that its request has still to do."""
    enqueued_at: float
    """On the clock of ``Queue.take``'s ``now``, as the request's deadline is."""
    key: Hashable
    """Equal for entries that may share a batch."""
    future: Waiter
    is_encoded: bool = False
    """Whether the engine has had its window a moment ago."""
    slots: int = 1
    """That it takes, where rows join; see ``engines.base.slots_of``."""

    @property
    def rank(self) -> tuple[bool, float]:
        """The lower goes first among entries of one caller. Ageing is linear, so the order never changes with time."""
        return (not self.is_encoded, self.remaining_s + AGEING * self.enqueued_at)

    @property
    def is_short(self) -> bool:
        """Whether its request is near its end, or waited for by somebody who speaks."""
        return self.remaining_s <= SHORT_S or self.request.priority is Priority.REALTIME

    @property
    def is_prompt(self) -> bool:
        """Whether all of its request is short, not only what is left of it, and somebody waits for it."""
        request = self.request
        audio_s = self.remaining_s if request.audio_s is None else request.audio_s
        is_short = audio_s <= SHORT_S or request.priority is Priority.REALTIME
        return is_short and request.priority is not Priority.BATCH

    def urgency(self, now: float) -> int:
        """Its class, in which it rises while it waits; the lower is the more urgent."""
        waited = now - self.enqueued_at
        if waited >= PROMOTE_ALL_S:
            return 0
        if waited >= PROMOTE_BATCH_S:
            return min(int(self.request.priority), 1)
        return int(self.request.priority)
