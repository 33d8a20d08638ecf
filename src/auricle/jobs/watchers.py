"""Who waits for news of a job within this process."""

import asyncio
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager


class Watchers:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._events: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def listen(self, job_id: str) -> Generator[asyncio.Event]:
        """An event that is set with each change of the job."""
        event = asyncio.Event()
        self._events[job_id].add(event)
        try:
            yield event
        finally:
            self._events[job_id].discard(event)
            if not self._events[job_id]:
                del self._events[job_id]

    def ring(self, job_id: str) -> None:
        """The job has changed."""
        for event in self._events.get(job_id, ()):
            event.set()
