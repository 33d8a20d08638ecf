"""One model on several devices: a scheduler and an engine process for each, behind one Recognizer.

A row goes to the device with the fewest rows in hand, so a slower device gets fewer. Later tries of a window go to the
device that was given it first, whose engine holds its encoding. An engine that dies is started again by its scheduler,
which loses no row; until it is back, new rows go to the others. Where it cannot be started again, the rows that were
given to it move to another device.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from auricle.batching.scheduler import Scheduler
from auricle.errors import AuricleError, EngineError, InvalidOption
from auricle.types import Answer, ModelInfo, RequestInfo, Row

_log = logging.getLogger(__name__)

_KEPT_KEYS = 1024
"""Windows of a device whose place is remembered; engines keep far fewer encodings."""
_REVIVE_EVERY_S = 5.0
"""A device that is lost is tried again so often while there is work."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Member:
    """A device's scheduler and what it was given."""

    scheduler: Scheduler
    rows: int = 0
    """That wait for an answer."""
    keys: OrderedDict[str, None] = field(default_factory=OrderedDict[str, None])
    """Windows that its engine was given, the latest last."""
    revival: asyncio.Task[None] | None = None
    not_before: float = 0.0

    async def decode(self, row: Row, request: RequestInfo, *, remaining_s: float) -> Answer:
        self.keys[row.key] = None
        self.keys.move_to_end(row.key)
        if len(self.keys) > _KEPT_KEYS:
            self.keys.popitem(last=False)
        self.rows += 1
        try:
            return await self.scheduler.decode(row, request, remaining_s=remaining_s)
        finally:
            self.rows -= 1


class Fleet:
    """The Recognizer over the schedulers of one model, one for each device. All methods belong to one event loop."""

    def __init__(self, schedulers: Sequence[Scheduler]) -> None:
        self._members = [_Member(scheduler=scheduler) for scheduler in schedulers]
        self._is_closed = False

    @property
    def info(self) -> ModelInfo:
        """Of the model on the first device; see Recognizer."""
        return self._members[0].scheduler.info

    @property
    def alive(self) -> bool:
        """Whether an engine is loaded and answers."""
        return any(member.scheduler.alive for member in self._members)

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the engines' processes that live."""
        return tuple(pid for member in self._members for pid in member.scheduler.pids)

    async def start(self) -> ModelInfo:
        """Load the model on all devices. Raises what loading raises, where one of them cannot be used too."""
        starts = [asyncio.create_task(member.scheduler.start()) for member in self._members]
        try:
            await asyncio.gather(*starts)
        finally:
            # Where one fails the others go on, until they are closed; here nobody waits for them any more.
            for start in starts:
                start.cancel()
        return self.info

    @contextmanager
    def admit(self, request: RequestInfo) -> Generator[None]:
        """See Recognizer."""
        with ExitStack() as stack:
            for member in self._members:
                stack.enter_context(member.scheduler.admit(request))
            yield

    async def decode(self, row: Row, request: RequestInfo, *, remaining_s: float) -> Answer:
        """See Recognizer."""
        left = list(self._members)
        while True:
            member = self._choose(row.key, left)
            try:
                return await member.decode(row, request, remaining_s=remaining_s)
            except (EngineError, InvalidOption) as error:
                left.remove(member)
                # An engine that is there again was not the reason, and would not be on another device.
                if not left or await _has_engine(member.scheduler):
                    raise
                _log.warning("a row moves to another device, since its own has no engine any more: %s", error)

    async def drain(self) -> None:
        """Admit no more requests, and wait for those in progress."""
        await asyncio.gather(*(member.scheduler.drain() for member in self._members))

    async def close(self) -> None:
        """Refuse new rows, fail those that wait, end all engine processes. May be called again."""
        self._is_closed = True
        await asyncio.gather(*(member.scheduler.close() for member in self._members))
        revivals = [member.revival for member in self._members if member.revival is not None]
        if revivals:
            await asyncio.wait(revivals)

    def _choose(self, key: str, among: Sequence[_Member]) -> _Member:
        ready = [member for member in among if member.scheduler.alive]
        for member in among:
            if member not in ready:
                member.keys.clear()
                self._revive(member)
        holder = next((member for member in ready if key in member.keys), None)
        return holder or min(ready or among, key=lambda member: member.rows)

    def _revive(self, member: _Member) -> None:
        """Have an engine started that has died while no row was with it, or again after a failure."""
        loop = asyncio.get_running_loop()
        if not self._is_closed and member.revival is None and loop.time() >= member.not_before:

            async def start() -> None:
                if not await _has_engine(member.scheduler):
                    member.not_before = loop.time() + _REVIVE_EVERY_S
                member.revival = None

            member.revival = asyncio.create_task(start())


async def _has_engine(scheduler: Scheduler) -> bool:
    """Whether the scheduler has an engine, or gets one now."""
    try:
        await scheduler.start()
    except AuricleError as error:
        _log.warning("an engine cannot be started: %s", error)
        return False
    return True
