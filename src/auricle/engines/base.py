"""The protocol that every engine fulfils, and what it is started with."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from auricle.types import Decoding, ModelInfo, Row


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
    """Rows of a batch; 0 takes what suits the device."""
    cache_dir: Path | None = None
    """Folder for what an engine keeps on disk from one start to the next; None keeps nothing."""
    cache_bytes: int = 0
    """Most bytes of that folder."""
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    """What only one engine knows; see its module."""


Pause = Callable[[], None]
"""Called by an engine where it can wait: other rows may be decoded before it returns, by the same engine."""


def go_on() -> None:
    """A pause without a break."""


class Engine(Protocol):
    """Runs the network and nothing else; policy lives in the pipeline.

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


def batch_key(row: Row, info: ModelInfo) -> Hashable:
    """What rows must have in common to share a batch of the engine described by ``info``.

    ``info.batch_by`` may name ``options``, ``task``, ``prompt_length`` and ``frames``.
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
