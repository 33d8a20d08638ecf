"""How many jobs may wait."""

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from auricle.errors import QueueFull

if TYPE_CHECKING:
    from auricle.store.opening import JobStores

_RECOUNT_S = 5.0
"""How long a count is good for; jobs that came since are added to it, those that began are not taken off."""
_RECOUNT_FULL_S = 1.0
_WAIT_S = 30.0


class QueueRoom:
    """Holds for the jobs that this process accepts. For the thread that writes, so that they come one by one."""

    def __init__(self, *, max_queued: int, max_per_owner: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_queued = max_queued
        self._max_per_owner = max_per_owner
        self._clock = clock
        self._queued: Counter[str] = Counter()
        self._counted_at: float | None = None

    def take(self, stores: "JobStores", owner: str) -> None:
        """Make room for one more job. Raises QueueFull where there is none, StoreUnavailable."""
        now = self._clock()
        good_s = _RECOUNT_FULL_S if self._trouble(owner) else _RECOUNT_S
        if self._counted_at is None or now - self._counted_at >= good_s:
            self._queued, self._counted_at = Counter(stores.jobs.queued_by_owner()), now
        if trouble := self._trouble(owner):
            raise QueueFull(trouble, retry_after_s=_WAIT_S)
        self._queued[owner] += 1

    def _trouble(self, owner: str) -> str | None:
        if self._queued.total() >= self._max_queued:
            return f"{self._max_queued} jobs wait already (AURICLE_MAX_QUEUED_JOBS); try again later."
        if owner and self._max_per_owner and self._queued[owner] >= self._max_per_owner:
            return (
                f"{self._max_per_owner} jobs of this key wait already (AURICLE_MAX_QUEUED_JOBS_PER_KEY); try again "
                "later."
            )
        return None
