"""What the ways of bringing rows to an engine have in common: ``batch_feed`` and ``slot_feed``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from auricle.batching.device import Device, Seat
from auricle.batching.engine_slot import EngineSlot
from auricle.batching.entry import Entry
from auricle.batching.metrics import Metrics
from auricle.batching.queue import Queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A queue and the engine at its end."""

    queue: Queue
    slot: EngineSlot
    device: Device
    rank: float
    """Among the models of the device; the lower goes first."""
    metrics: Metrics
    batch_timeout_s: float | None
    clock: Callable[[], float]
    note_idle: Callable[[], None]
    """To be called whenever there is less to do."""

    def join_device(self, start: Callable[[], None]) -> Seat:
        """A seat at the device; ``start`` is called when its turn comes."""
        return self.device.join(rank=self.rank, urgency=lambda: self.queue.urgency(self.clock()), start=start)


class Feed(Protocol):
    """Takes rows from the queue when the engine can have them. Belongs to one event loop."""

    @property
    def is_idle(self) -> bool:
        """Whether the engine has nothing to do."""
        ...

    def note_entry(self, entry: Entry) -> None:
        """It waits in the queue from now on."""
        ...

    def discard(self, entry: Entry) -> None:
        """Nobody waits for it any more: it has its answer, or its caller has left."""
        ...

    async def close(self) -> None:
        """End the engine, and wait for what it still did; the queue is empty."""
        ...
