"""Searches over log-probabilities: beams (greedy is a beam of one) and independent samples.

The bookkeeping of beams is CTranslate2's: twice as many candidates as beams, a finished hypothesis counts if it is
among the first beams, patience.
"""

import math
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from auricle.types import DecodingOptions

Integers = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(slots=True, kw_only=True)
class Hypothesis:
    """Tokens so far, without the prompt."""

    tokens: list[int] = field(default_factory=list[int])
    score: float = 0.0
    numbers: Sequence[float] = ()
    """Of a sample: what each of its tokens is drawn with."""


class Search(Protocol):
    """The search of one window."""

    live: list[Hypothesis]

    @property
    def is_done(self) -> bool: ...

    def advance(self, tokens: Integers, values: Floats, eot: int, *, is_last: bool) -> list[int]:
        """Take one step: the best tokens of each live hypothesis (live, count) with their log-probabilities.

        Returns which earlier hypothesis each of the new live ones continues. ``is_last``: there is no room for more.
        """
        ...

    def best(self) -> Hypothesis:
        """The finished hypothesis with the best score a token."""
        ...


def make_search(options: DecodingOptions, numbers: Floats | None) -> Search:
    """Beam search, or independent samples that are drawn with ``numbers`` (samples, limit)."""
    if numbers is not None:
        return Samples(numbers=numbers, length_penalty=options.length_penalty)
    return Beams(width=options.beam_size, patience=options.patience, length_penalty=options.length_penalty)


def count_choices(options: DecodingOptions) -> int:
    """How many tokens of each hypothesis a step of the search is given."""
    # Beam search wants twice its beams, so that enough are left when some end.
    return 1 if options.temperature > 0 or options.beam_size == 1 else 2 * options.beam_size


@dataclass(slots=True, kw_only=True)
class Samples:
    """Hypotheses that do not compete until all are finished."""

    numbers: InitVar[Floats]
    length_penalty: float
    live: list[Hypothesis] = field(default_factory=list[Hypothesis])
    finished: list[Hypothesis] = field(default_factory=list[Hypothesis])

    def __post_init__(self, numbers: Floats) -> None:
        self.live = [Hypothesis(numbers=each) for each in numbers.tolist()]

    @property
    def is_done(self) -> bool:
        return not self.live

    def advance(self, tokens: Integers, values: Floats, eot: int, *, is_last: bool) -> list[int]:
        kept: list[Hypothesis] = []
        parents: list[int] = []
        for parent, hypothesis in enumerate(self.live):
            token, score = int(tokens[parent, 0]), hypothesis.score + float(values[parent, 0])
            if token == eot:
                self.finished.append(replace(hypothesis, score=score))
                continue
            longer = replace(hypothesis, tokens=[*hypothesis.tokens, token], score=score)
            if is_last:
                self.finished.append(longer)
            else:
                kept.append(longer)
                parents.append(parent)
        self.live = kept
        return parents

    def best(self) -> Hypothesis:
        return max(self.finished, key=lambda h: h.score / max(1, len(h.tokens)) ** self.length_penalty)


@dataclass(slots=True, kw_only=True)
class Beams:
    """``live`` hypotheses compete at every step."""

    width: int
    patience: float
    length_penalty: float
    live: list[Hypothesis] = field(default_factory=lambda: [Hypothesis()])
    finished: list[tuple[float, Hypothesis]] = field(default_factory=list[tuple[float, Hypothesis]])

    @property
    def is_done(self) -> bool:
        return not self.live or len(self.finished) >= max(1, round(self.width * self.patience))

    def advance(self, tokens: Integers, values: Floats, eot: int, *, is_last: bool) -> list[int]:
        scores = (np.array([[hypothesis.score] for hypothesis in self.live]) + values).ravel()
        count: int = tokens.shape[1]
        ranked: list[int] = np.argsort(-scores, kind="stable")[: 2 * self.width].tolist()
        kept: list[Hypothesis] = []
        parents: list[int] = []
        for rank, place in enumerate(ranked):
            score, token, parent = float(scores[place]), int(tokens.flat[place]), place // count
            if score == -math.inf:
                break
            before = self.live[parent].tokens
            if token == eot or is_last:
                if rank < self.width:
                    self._finish(before if token == eot else [*before, token], score)
            elif len(kept) < self.width:
                kept.append(Hypothesis(tokens=[*before, token], score=score))
                parents.append(parent)
        self.live = [] if is_last else kept
        return parents

    def best(self) -> Hypothesis:
        if not self.finished:
            return max(self.live, key=lambda hypothesis: hypothesis.score)
        return max(self.finished, key=lambda pair: pair[0])[1]

    def _finish(self, tokens: list[int], score: float) -> None:
        normal = max(1, len(tokens)) ** self.length_penalty
        self.finished.append((score / normal, Hypothesis(tokens=tokens, score=score)))
