"""What keys use, counted in memory between two writes."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, date, datetime

from auricle.store.key import DayUsage


def _today() -> date:
    return datetime.now(UTC).date()


class UsageMeter:
    """Adds up; one write for many requests. Belongs to one event loop."""

    def __init__(self, *, today: Callable[[], date] = _today) -> None:
        self._today = today
        self._counts: dict[tuple[str, date], DayUsage] = {}

    def add(self, owner: str, *, requests: int = 0, audio_s: float = 0.0, errors: int = 0) -> None:
        """The owner has used so much just now."""
        self.put_back([DayUsage(owner=owner, day=self._today(), requests=requests, audio_s=audio_s, errors=errors)])

    def take(self) -> list[DayUsage]:
        """All since the last time; for who writes it."""
        counts, self._counts = self._counts, {}
        return list(counts.values())

    def put_back(self, counts: Iterable[DayUsage]) -> None:
        """Count again what was taken and could not be written."""
        for count in counts:
            key = (count.owner, count.day)
            had = self._counts.get(key, DayUsage(owner=count.owner, day=count.day))
            self._counts[key] = replace(
                had,
                requests=had.requests + count.requests,
                audio_s=had.audio_s + count.audio_s,
                errors=had.errors + count.errors,
            )
