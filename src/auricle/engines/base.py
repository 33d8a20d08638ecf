"""The protocols that engines fulfil, and what they are started with."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from auricle.types import Decoding, DecodingOptions, ModelInfo, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """All that an engine's process needs to start; picklable."""

    engine: str
    """A name of ``engines.registry``."""
    model_name: str
    """What the model is called to users."""
    model_path: Path
    """Folder with the weights."""
    device: str = "auto"
    device_index: int = 0
    compute_type: str = "auto"
    threads: int = 0
    """CPU threads; 0 takes all cores."""
    max_batch: int = 0
    """Rows of a batch, or slots of an engine that joins rows; 0 takes what suits the device."""
    cache_dir: Path | None = None
    """Folder for what an engine keeps on disk from one start to the next; None keeps nothing."""
    cache_bytes: int = 0
    """Most bytes of that folder."""
    optimized: Path | None = None
    """Folder of an encoder that was quantized beforehand for this model; see ``engines.optimized``."""
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    """What only one engine knows; see its module."""


Pause = Callable[[], None]
"""Called by an engine where it can wait: other rows may be decoded before it returns, by the same engine."""


def go_on() -> None:
    """A pause without a break."""


class Engine(Protocol):
    """Runs the network and nothing else, batch after batch; policy lives in the pipeline.

    An engine is used by one thread of one process. It may keep the encodings of recent rows by ``Row.key``.
    """

    @property
    def info(self) -> ModelInfo:
        """What the model is and can do."""
        ...

    def decode(self, rows: Sequence[Row], pause: Pause = go_on) -> list[Decoding]:
        """Answers in the order of ``rows``, all of which have the same ``batch_key``.

        ``pause`` is called where ``info.gives_way`` says; what it raises must come out.
        Raises EngineOutOfMemory where fewer rows could succeed, any other exception where they could not.
        """
        ...

    def close(self) -> None:
        """Free what is held; the process ends right after."""
        ...


Ticket = Hashable
"""Names a row inside a SlotEngine; given by who has it join."""


class SlotEngine(Protocol):
    """Runs rows that join and leave at any step; policy lives in the pipeline.

    It has ``info.max_batch`` slots, and ``info.joins`` is True. It is used by one thread of one process, and may keep
    the encodings of recent rows by ``Row.key``. An exception other than EngineOutOfMemory leaves it unusable.
    """

    @property
    def info(self) -> ModelInfo:
        """What the model is and can do."""
        ...

    def join(self, waiting: Sequence[tuple[Ticket, Row]]) -> int:
        """Take the first rows of ``waiting`` that there is room for, each as many slots as ``slots_of`` says.

        Returns how many rows have joined; 0 where the first has to wait for others to leave. ``waiting`` is not
        empty. Raises EngineOutOfMemory where memory is short, or the first row would never fit; none has joined then,
        and those inside stay.
        """
        ...

    def step(self) -> list[tuple[Ticket, Decoding]]:
        """One more token for every row inside; those that are done, which have left.

        Raises EngineOutOfMemory where fewer rows could succeed; ``clear`` is called then. Called only while rows are
        inside.
        """
        ...

    @property
    def is_empty(self) -> bool:
        """Whether no row is inside, and no answer is due."""
        ...

    @property
    def slots_used(self) -> int:
        """Slots that rows have now. A row may give its own up before ``step`` returns its answer."""
        ...

    def drop(self, tickets: Sequence[Ticket]) -> None:
        """Let these rows go without an answer; those that are not inside (any more) are passed over."""
        ...

    def clear(self) -> None:
        """Let all rows go without an answer."""
        ...

    def close(self) -> None:
        """Free what is held; the process ends right after."""
        ...


def slots_of(options: DecodingOptions) -> int:
    """Slots that a row takes in a SlotEngine: its beams, or its samples where the temperature is above 0."""
    if options.task == "detect_language":
        return 1
    return max(1, options.beam_size if options.temperature == 0 else options.best_of)


def batch_key(row: Row, info: ModelInfo) -> Hashable:
    """What rows must have in common to share a batch of the engine described by ``info``.

    ``info.batch_by`` may name ``options``, ``task``, ``prompt_length`` and ``frames``; it is empty where rows join.
    """
    parts: list[Hashable] = []
    for name in info.batch_by:
        if name == "options":
            parts.append(row.options)
        elif name == "task":
            parts.append(row.options.task)
        elif name == "prompt_length":
            parts.append(len(row.prompt))
        elif name == "frames":
            parts.append(row.features.shape[1])
        else:
            raise ValueError(f"engine {info.engine} batches by {name!r}, which rows do not have")
    return tuple(parts)
