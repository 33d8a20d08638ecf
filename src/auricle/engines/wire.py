"""What a process and the engine's process say to each other, and how it lies on their pipes.

A frame is a header (number of buffers, bytes of the pickle), the buffers' lengths, the pickle, the buffers.
Arrays travel as buffers outside the pickle (protocol 5), so that no copy of them is made on the way.
"""

import pickle
import struct
from collections.abc import Callable, Generator
from dataclasses import dataclass
from io import RawIOBase

from auricle.errors import AuricleError
from auricle.types import Decoding, ModelInfo, Row

_HEADER = struct.Struct("<II")

Send = Callable[[object], None]
"""Takes a message for the other end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows to decode together, or where rows join, as there is room; the first frame of all is an ``EngineConfig``."""

    id: int
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Nobody waits for this batch any more: its rows leave without an answer. Only for engines whose rows join."""

    batch_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The model is loaded."""

    info: ModelInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFailed:
    """The model could not be loaded; the process ends."""

    error: AuricleError


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStarted:
    """The engine works on this batch from now on, or again: if the process dies now, this batch may be why.

    Where rows join, it does so beside those that have started before.
    """

    batch_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What an engine whose rows join has done since its start."""

    steps: int = 0
    slot_steps: int = 0
    """Slots in use, summed over the steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowDone:
    """One row's answer; a batch is done when each of its rows is."""

    batch_id: int
    index: int
    decoding: Decoding
    seconds: float
    """Time of the batch in the engine; where rows join, of the row."""
    load: Load | None = None
    """Of an engine whose rows join."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchesFailed:
    """No row of these batches that is still open gets an answer.

    After EngineOutOfMemory the process goes on; after any other error it ends, since its state is not to be trusted.
    """

    batch_ids: tuple[int, ...]
    error: AuricleError
    slots: int = 0
    """Those in use, where rows that had joined were too many together; fewer at a time may succeed."""


def encode_message(message: object) -> list[bytes | memoryview]:
    """The frame of ``message`` in pieces, to be written in order."""
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    lengths = struct.pack(f"<{len(views)}Q", *(view.nbytes for view in views))
    return [_HEADER.pack(len(views), len(body)) + lengths + body, *views]


def decode_message() -> Generator[int, bytes | bytearray, object]:
    """Yields the number of bytes it needs next, is sent them, and returns the message; does no reading itself."""
    count, size = _HEADER.unpack((yield _HEADER.size))
    lengths: tuple[int, ...] = struct.unpack(f"<{count}Q", (yield 8 * count))
    body = yield size
    buffers: list[bytes | bytearray] = []
    for length in lengths:
        buffers.append((yield length))
    return pickle.loads(body, buffers=buffers)  # noqa: S301 - the other end is our own process


def write_message(pipe: RawIOBase, message: object) -> None:
    """Write ``message`` to a blocking pipe."""
    for piece in encode_message(message):
        view = memoryview(piece)
        while view:
            view = view[pipe.write(view) or 0 :]


def read_message(pipe: RawIOBase) -> object:
    """Read a message from a blocking, unbuffered pipe. Raises EOFError when the other end is closed."""
    steps = decode_message()
    wanted = next(steps)
    while True:
        try:
            wanted = steps.send(_read_exactly(pipe, wanted))
        except StopIteration as end:
            return end.value


def _read_exactly(pipe: RawIOBase, size: int) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        count = pipe.readinto(view)
        if not count:
            raise EOFError("the other end of the pipe is closed")
        view = view[count:]
    return data
