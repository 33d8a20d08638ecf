"""Whisper's decoding rules and searches over log-probabilities, for engines whose network only gives those.

Rules and greedy sampling as in openai/whisper's ``decoding.py``; beam search with CTranslate2's bookkeeping (twice as
many candidates as beams; a finished hypothesis counts if it is among the first beams; patience).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from auricle.types import DecodingOptions

Floats = NDArray[np.float32]
NEVER = -math.inf
_BLOCK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Ids that the rules need."""

    eot: int
    first_timestamp: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The network's answer for one row: log-probabilities after static suppression."""

    logprobs: Floats
    """(vocabulary,), a view."""
    top_tokens: NDArray[np.int64]
    """Best tokens before the first timestamp, best first."""
    top_values: Floats


@dataclass(slots=True, kw_only=True)
class Hypothesis:
    """Tokens so far, without the prompt."""

    tokens: list[int] = field(default_factory=list[int])
    score: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Which tokens may follow, and the log of their joint probability."""

    text: bool
    """Tokens before the end of text."""
    end: bool
    """The end of text."""
    low: int
    """Timestamps from this id on …"""
    high: int
    """… and before this one."""
    log_mass: float


def allowed_next(
    tokens: Sequence[int], scores: Scores, vocabulary: Vocabulary, *, timestamps: bool, max_initial: int
) -> Allowed:
    """The timestamp rules: pairs, order, a timestamp first, and nothing else where timestamps are likelier together."""
    begin, size = vocabulary.first_timestamp, vocabulary.size
    if not timestamps:
        return Allowed(text=True, end=True, low=begin, high=size, log_mass=0.0)
    if not tokens:
        high = min(begin + max_initial + 1, size)
        return Allowed(text=False, end=False, low=begin, high=high, log_mass=_log_mass(scores.logprobs[begin:high]))
    is_stamp = tokens[-1] >= begin
    pair_open = is_stamp and len(tokens) > 1 and tokens[-2] < begin
    text = not pair_open
    low = begin
    if is_stamp and not pair_open:
        low = size
    else:
        last = next((token for token in reversed(tokens) if token >= begin), None)
        if last is not None:
            low = last if pair_open else last + 1
    stamps = scores.logprobs[low:]
    stamp_mass = _log_mass(stamps)
    best_text = float(scores.top_values[0]) if text else float(scores.logprobs[vocabulary.eot : begin].max())
    if stamp_mass > best_text:
        return Allowed(text=False, end=False, low=low, high=size, log_mass=stamp_mass)
    text_mass = _log_mass(scores.logprobs[:begin] if text else scores.logprobs[vocabulary.eot : begin])
    return Allowed(text=text, end=True, low=low, high=size, log_mass=float(np.logaddexp(stamp_mass, text_mass)))


def top_tokens(logprobs: Floats, count: int) -> tuple[NDArray[np.int64], Floats]:
    """The ``count`` largest entries of each row of (N, vocabulary), best first: their places and their values.

    Only the blocks with the largest maxima are ranked, which is several times faster than ranking the whole row.
    """
    if count == 1:
        best = logprobs.argmax(axis=1)[:, None]
        return best, np.take_along_axis(logprobs, best, 1)
    rows: int = logprobs.shape[0]
    size: int = logprobs.shape[1]
    whole = size // _BLOCK * _BLOCK
    blocks = logprobs[:, :whole].reshape(rows, -1, _BLOCK)
    # The best entry of the n-th best block is beaten by n - 1 others at least.
    chosen = np.argsort(-blocks.max(axis=2), axis=1, kind="stable")[:, :count]
    ranked = (chosen[:, :, None] * _BLOCK + np.arange(_BLOCK)).reshape(rows, -1)
    places = np.hstack([ranked, np.tile(np.arange(whole, size), (rows, 1))])
    values = np.take_along_axis(logprobs, places, 1)
    order = np.argsort(-values, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(places, order, 1), np.take_along_axis(values, order, 1)


def best_tokens(scores: Scores, allowed: Allowed, vocabulary: Vocabulary) -> list[tuple[int, float]]:
    """As many of the likeliest tokens that are allowed as text tokens were ranked, best first, with their
    log-probabilities among the allowed ones.
    """
    count = len(scores.top_tokens)
    found: list[tuple[int, float]] = []
    if allowed.text:
        found += zip(scores.top_tokens.tolist(), scores.top_values.tolist(), strict=True)
    elif allowed.end:
        found.append((vocabulary.eot, float(scores.logprobs[vocabulary.eot])))
    stamps = scores.logprobs[allowed.low : allowed.high]
    if stamps.size:
        ranked = np.argsort(stamps)[::-1][:count] if count > 1 else [int(stamps.argmax())]
        found += [(allowed.low + int(index), float(stamps[index])) for index in ranked]
    found.sort(key=lambda pair: -pair[1])
    return [(token, value - allowed.log_mass) for token, value in found[:count] if value > NEVER]


def sample_token(
    scores: Scores, allowed: Allowed, vocabulary: Vocabulary, temperature: float, random: np.random.Generator
) -> tuple[int, float]:
    """A token drawn at ``temperature`` (the Gumbel trick), with its log-probability at temperature 1."""
    masked = np.full(vocabulary.size, NEVER, np.float32)
    if allowed.text:
        masked[: vocabulary.first_timestamp] = scores.logprobs[: vocabulary.first_timestamp]
    elif allowed.end:
        masked[vocabulary.eot] = scores.logprobs[vocabulary.eot]
    masked[allowed.low : allowed.high] = scores.logprobs[allowed.low : allowed.high]
    token = int((masked / temperature + random.gumbel(size=masked.size)).argmax())
    return token, float(masked[token]) - allowed.log_mass


def _log_mass(logprobs: Floats) -> float:
    if not logprobs.size:
        return NEVER
    top = float(logprobs.max())
    if top == NEVER:
        return NEVER
    return top + math.log(float(np.exp(logprobs - top).sum()))


class Search(Protocol):
    """The search of one window."""

    width: int
    """Most live hypotheses."""
    live: list[Hypothesis]

    @property
    def is_done(self) -> bool: ...

    def advance(self, choices: Sequence[Sequence[tuple[int, float]]], eot: int, *, is_last: bool) -> list[int]:
        """Take one step: ``choices`` are the best tokens of each live hypothesis with their log-probabilities.

        Returns which earlier hypothesis each of the new live ones continues. ``is_last``: there is no room for more.
        """
        ...

    def best(self) -> Hypothesis:
        """The finished hypothesis with the best score a token."""
        ...


def make_search(options: DecodingOptions) -> Search:
    """Beam search (greedy where the beam is one), or independent samples at a temperature."""
    if options.temperature > 0:
        return Samples(width=options.best_of, length_penalty=options.length_penalty)
    return Beams(width=options.beam_size, patience=options.patience, length_penalty=options.length_penalty)


@dataclass(slots=True, kw_only=True)
class Samples:
    """Hypotheses that do not compete until all are finished."""

    width: int
    length_penalty: float
    live: list[Hypothesis] = field(default_factory=list[Hypothesis])
    finished: list[Hypothesis] = field(default_factory=list[Hypothesis])

    def __post_init__(self) -> None:
        self.live = [Hypothesis() for _ in range(self.width)]

    @property
    def is_done(self) -> bool:
        return not self.live

    def advance(self, choices: Sequence[Sequence[tuple[int, float]]], eot: int, *, is_last: bool) -> list[int]:
        kept: list[Hypothesis] = []
        parents: list[int] = []
        for parent, hypothesis in enumerate(self.live):
            token, value = choices[parent][0]
            score = hypothesis.score + value
            if token == eot:
                self.finished.append(Hypothesis(tokens=hypothesis.tokens, score=score))
                continue
            longer = Hypothesis(tokens=[*hypothesis.tokens, token], score=score)
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

    def advance(self, choices: Sequence[Sequence[tuple[int, float]]], eot: int, *, is_last: bool) -> list[int]:
        ranked = sorted(
            (
                (hypothesis.score + value, parent, token)
                for parent, hypothesis in enumerate(self.live)
                for token, value in choices[parent]
            ),
            key=lambda candidate: -candidate[0],
        )[: 2 * self.width]
        kept: list[Hypothesis] = []
        parents: list[int] = []
        for rank, (score, parent, token) in enumerate(ranked):
            before = self.live[parent].tokens
            if token == eot or is_last:
                if rank < self.width:
                    tokens = before if token == eot else [*before, token]
                    normal = max(1, len(tokens)) ** self.length_penalty
                    self.finished.append((score / normal, Hypothesis(tokens=tokens, score=score)))
            elif len(kept) < self.width:
                kept.append(Hypothesis(tokens=[*before, token], score=score))
                parents.append(parent)
        self.live = [] if is_last else kept
        return parents

    def best(self) -> Hypothesis:
        if not self.finished:
            return max(self.live, key=lambda hypothesis: hypothesis.score)
        return max(self.finished, key=lambda pair: pair[0])[1]
