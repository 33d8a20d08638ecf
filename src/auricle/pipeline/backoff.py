"""Remembers failures, so that what keeps failing is not tried with every request."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from auricle.errors import AuricleError

_LONGEST_PAUSE_S = 60.0
_MAX_REMEMBERED = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    error: AuricleError
    count: int
    until: float


class Backoff:
    """Pauses after failures in a row: ``first_pause_s``, then twice as long each time, at most a minute.

    The first ``free`` failures cost no pause.
    """

    def __init__(self, *, first_pause_s: float, free: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._first_pause_s = first_pause_s
        self._free = free
        self._clock = clock
        self._failures: dict[Hashable, _Failure] = {}

    def check(self, key: Hashable) -> None:
        """Raise the last error of ``key`` while its pause lasts."""
        failure = self._failures.get(key)
        if failure is not None and self._clock() < failure.until:
            raise failure.error.with_traceback(None)

    def note(self, key: Hashable, error: AuricleError) -> None:
        """``key`` has failed."""
        before = self._failures.pop(key, None)
        count = before.count + 1 if before is not None else 1
        doublings = count - 1 - self._free
        pause_s = min(self._first_pause_s * 2 ** min(doublings, 16), _LONGEST_PAUSE_S) if doublings >= 0 else 0.0
        self._failures[key] = _Failure(error=error, count=count, until=self._clock() + pause_s)
        while len(self._failures) > _MAX_REMEMBERED:
            del self._failures[next(iter(self._failures))]

    def forget(self, key: Hashable) -> None:
        """``key`` has succeeded."""
        self._failures.pop(key, None)
