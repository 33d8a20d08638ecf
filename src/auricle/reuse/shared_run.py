"""A transcription that several requests wait for. Belongs to one event loop."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, contextmanager

from auricle.errors import Busy, DeadlineExceeded
from auricle.reuse.request import Outcome
from auricle.types import ClipDone, Transcript

logger = logging.getLogger("auricle.reuse")

_SHORT_GRACE_S = 1.0
"""About as long as a batch."""
_GRACE_SHARE = 0.1

Item = Outcome | ClipDone | Transcript
"""A run tells first where its parts come from."""


class SharedRun:
    """Collects the items of a run; everyone who joins gets all of them, from the first on.

    Abandoned by all, it goes on for ``grace_s``, so that a client that tries again finds it, but for no longer than it
    has run already, nor more than a second and a tenth of that: a short run is soon done again, and who leaves must not
    cost the others much. Once the transcript is there, nothing stops what follows.
    """

    def __init__(
        self, items: AsyncGenerator[Item, None], *, grace_s: float, on_end: Callable[["SharedRun"], None]
    ) -> None:
        self._items: list[Item] = []
        self._waiters = 0
        self._grace_s = grace_s
        self._changed = asyncio.Event()
        self._end_timer: asyncio.TimerHandle | None = None
        self._is_cancelled = False
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._task = asyncio.create_task(self._collect(items))
        self._on_end = on_end
        self._task.add_done_callback(self._end)

    @property
    def is_open(self) -> bool:
        """Whether it can be joined."""
        return not (self._is_cancelled or self._task.done())

    @property
    def is_complete(self) -> bool:
        """Whether the transcript is there; what follows may still go on."""
        return bool(self._items) and isinstance(self._items[-1], Transcript)

    @contextmanager
    def joined(self) -> Generator[None]:
        """Be waited for by one more."""
        self._waiters += 1
        if self._end_timer is not None:
            self._end_timer.cancel()
            self._end_timer = None
        try:
            yield
        finally:
            self._waiters -= 1
            if not self._waiters and not self.is_complete and not self._task.done():
                ran_s = self._loop.time() - self._started
                grace_s = min(self._grace_s, ran_s, max(_SHORT_GRACE_S, _GRACE_SHARE * ran_s))
                self._end_timer = self._loop.call_later(grace_s, self._cancel)

    async def items(self, deadline: float | None) -> AsyncGenerator[Item, None]:
        """All items; the Transcript is the last. Raises what the run raises.

        Raises DeadlineExceeded at ``deadline`` (monotonic clock), Busy where the run is ended from outside.
        """
        position = 0
        while True:
            while position < len(self._items):
                yield self._items[position]
                position += 1
            if self.is_complete:
                return
            if self._task.cancelled():
                raise Busy("the server is shutting down; try again")
            if self._task.done():
                self._task.result()
                return
            await self._wait_for_change(deadline)

    async def close(self) -> None:
        """End it, whoever waits; what follows the transcript is waited for."""
        if not self.is_complete:
            self._cancel()
        await asyncio.wait([self._task])

    async def _collect(self, items: AsyncGenerator[Item, None]) -> None:
        async with aclosing(items):
            async for item in items:
                self._items.append(item)
                self._announce()

    async def _wait_for_change(self, deadline: float | None) -> None:
        changed = self._changed
        limit = asyncio.timeout_at(deadline)
        try:
            async with limit:
                await changed.wait()
        except TimeoutError as exc:
            if not limit.expired():
                raise
            raise DeadlineExceeded("the transcription was not done in time") from exc

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _cancel(self) -> None:
        self._is_cancelled = True
        self._task.cancel()

    def _end(self, task: asyncio.Task[None]) -> None:
        # Asking for the error also keeps asyncio from complaining where nobody waits any more.
        error = None if task.cancelled() else task.exception()
        if error is not None and self.is_complete:
            logger.error("a transcript was made but not kept", exc_info=error)
        if self._end_timer is not None:
            self._end_timer.cancel()
        self._announce()
        self._on_end(self)
