"""A network whose windows say what they are told to, for tests of what is done with logits."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from auricle.engines.checkpoint import Checkpoint, Shape, Tensor
from auricle.types import Features

EOT, SOT = 50257, 50258
LIKELY, SECOND, UNLIKELY = 10.0, 0.0, -20.0
OTHER, TRAP = 7, 9
"""The second choice after every token, after which a text ends; a first token after which nothing is likely."""


def _no_tensor(name: str) -> Tensor:
    raise KeyError(name)


CHECKPOINT = Checkpoint(
    shape=Shape(
        n_mels=1,
        d_model=4,
        encoder_layers=2,
        encoder_heads=1,
        decoder_layers=2,
        decoder_heads=1,
        vocabulary=51865,
        text_positions=448,
        audio_positions=1500,
    ),
    alignment_heads=((1, 0),),
    language_ids=tuple(range(50259, 50358)),
    suppressed=(),
    suppressed_first=(),
    tensor=_no_tensor,
)


@dataclass
class Answer:
    logits: NDArray[np.float32]
    queries: NDArray[np.float32]


@dataclass
class ScriptedRun:
    """Checks that each row goes on in its own window."""

    texts: Sequence[Sequence[int]]
    """Of the windows that are present."""
    kept: list[list[int]] = field(default_factory=list)
    """What ``keep`` was called with."""
    has_trap: bool = False
    rows: list[tuple[Sequence[int], list[int]]] = field(default_factory=list)
    """Of each row of the last step the text of its window, and its own so far."""

    def keep(self, windows: Sequence[int]) -> None:
        self.kept.append(list(windows))
        self.texts = [self.texts[number] for number in windows]

    def step(
        self, tokens: Sequence[Sequence[int]], wanted: Sequence[int], came_from: Sequence[int] | None = None
    ) -> Answer:
        if came_from is None:
            self.rows = [(text, []) for text in self.texts]
        else:
            self.rows = [
                (self.rows[parent][0], [*self.rows[parent][1], token])
                for parent, (token,) in zip(came_from, tokens, strict=True)
            ]
            each = len(self.rows) // len(self.texts)
            assert all(row[0] is self.texts[number // each] for number, row in enumerate(self.rows))
        logits = np.full((len(self.rows), len(wanted), CHECKPOINT.shape.vocabulary), UNLIKELY, np.float32)
        for row, (text, said) in zip(logits, self.rows, strict=True):
            is_on_track = said == list(text[: len(said)])
            row[:, text[len(said)] if is_on_track and len(said) < len(text) else EOT] = LIKELY
            row[:, OTHER] = SECOND
            if self.has_trap and not said:
                row[:, text[0]], row[:, TRAP] = LIKELY - 5, LIKELY
            elif self.has_trap and said[0] == TRAP:
                row[:] = 0
        return Answer(logits=logits, queries=np.zeros((len(self.rows), len(tokens[0]), 1, 4), np.float32))


@dataclass
class ScriptedNetwork:
    """The first feature of a window is its number."""

    texts: Sequence[Sequence[int]]
    window_bytes: int = 1
    has_trap: bool = False
    encoded: list[int] = field(default_factory=list)
    projected: list[int] = field(default_factory=list)
    runs: list[ScriptedRun] = field(default_factory=list)
    ended: int = 0
    checkpoint: Checkpoint = CHECKPOINT

    def encode(self, features: Features) -> int:
        self.encoded.append(int(features[0, 0]))
        return int(features[0, 0])

    def project(self, encoded: int) -> int:
        self.projected.append(encoded)
        return encoded

    def size_of(self, window: int) -> int:
        return self.window_bytes

    def begin(self, windows: Sequence[int]) -> ScriptedRun:
        self.runs.append(ScriptedRun([self.texts[window] for window in windows], has_trap=self.has_trap))
        return self.runs[-1]

    def alignment_keys(self, window: int, positions: int) -> NDArray[np.float32]:
        return np.zeros((1, positions, 4), np.float32)

    def end_batch(self) -> None:
        self.ended += 1
