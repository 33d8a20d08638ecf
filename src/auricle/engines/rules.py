"""Whisper's decoding rules over logits, for engines whose network only gives those.

The timestamp rules are openai/whisper's ``decoding.py``. The repetition penalty and the n-gram ban are CTranslate2's:
both look at the text so far without the prompt, and come before the other rules.
All functions take N rows at once, one hypothesis a row; ``texts`` are their tokens so far.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
NEVER = -math.inf
_BLOCK = 32
_RARE = 25.0
"""What is e ** 25 times less likely than the likeliest is not drawn: all 50,000 of them are one in a million."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Ids that the rules need: text, the end of text, special tokens, timestamps follow one another."""

    eot: int
    first_timestamp: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a batch obeys."""

    vocabulary: Vocabulary
    suppressed: Sequence[int] = ()
    """Tokens that never come."""
    suppressed_first: Sequence[int] = ()
    """Tokens that are not the first."""
    timestamps: bool = True
    max_initial: int = 50
    """Latest step of the first timestamp."""
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Top:
    """The best tokens of each row, best first: (N, count)."""

    tokens: Integers
    values: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Allowed:
    """Which tokens may follow in each row."""

    text: NDArray[np.bool_]
    """(N,): all tokens before the first timestamp."""
    tail: Floats
    """(N, size - eot): logits of the tokens from the end of text on that may follow and are not among ``text``; the
    others are NEVER."""
    log_mass: Floats
    """(N,): log of the sum of exponentials of all that may follow."""


def suppress(logits: Floats, texts: Sequence[Sequence[int]], rules: Rules) -> None:
    """Apply to ``logits`` (N, size), in place, what depends on no other token's probability."""
    penalty, length = rules.repetition_penalty, rules.no_repeat_ngram_size
    for row, tokens in zip(logits, texts, strict=True):
        if penalty != 1.0 and tokens:
            said = np.unique(np.array(tokens))
            row[said] = np.where(row[said] < 0, row[said] * penalty, row[said] / penalty)
        if length > 0:
            row[_ngram_ends(tokens, length)] = NEVER
        if not tokens:
            row[list(rules.suppressed_first)] = NEVER
    logits[:, list(rules.suppressed)] = NEVER


def top_tokens(logits: Floats, count: int) -> Top:
    """The ``count`` largest entries of each row of (N, columns).

    Only the blocks with the largest maxima are ranked, which is several times faster than ranking the whole row.
    """
    if count == 1:
        best = logits.argmax(axis=1)[:, None]
        return Top(tokens=best, values=np.take_along_axis(logits, best, 1))
    rows: int = logits.shape[0]
    size: int = logits.shape[1]
    blocks = size // _BLOCK
    if blocks <= count:
        return _rank(np.tile(np.arange(size), (rows, 1)), logits, count)
    # A block is every so many columns: the maxima of all blocks are then found side by side.
    maxima: Floats = logits[:, : blocks * _BLOCK].reshape(rows, _BLOCK, blocks).max(axis=1)
    # The best entry of the n-th best block is beaten by n - 1 others at least.
    chosen = np.argpartition(-maxima, count - 1, axis=1)[:, :count]
    places = (chosen[:, :, None] + blocks * np.arange(_BLOCK)).reshape(rows, -1)
    places = np.hstack([places, np.tile(np.arange(blocks * _BLOCK, size), (rows, 1))])
    return _rank(places, np.take_along_axis(logits, places, 1), count)


def allowed_next(logits: Floats, best_text: Floats, texts: Sequence[Sequence[int]], rules: Rules) -> Allowed:
    """The timestamp rules on ``logits`` (N, size): pairs, order, a timestamp first, and nothing else where timestamps
    are likelier together than any other token. Where nothing may follow, the text ends.

    ``best_text`` (N,) is the largest value before the first timestamp.
    """
    words = rules.vocabulary
    n_special = words.first_timestamp - words.eot
    spans = [_span(tokens, rules) for tokens in texts]
    text, end = (np.array([span[part] for span in spans], np.bool_) for part in (0, 1))
    text &= best_text > NEVER
    low, high = (np.array([[span[part]] for span in spans]) for part in (2, 3))
    places = np.arange(words.eot, words.size)
    may = np.where(places < words.first_timestamp, (end & ~text)[:, None], (places >= low) & (places < high))
    tail = np.where(may, logits[:, words.eot :], np.float32(NEVER))
    log_mass = log_sum(tail[:, n_special:])
    if rules.timestamps:
        best = np.where(text, best_text, tail[:, :n_special].max(axis=1))
        only_stamps = log_mass > best
        tail[only_stamps, :n_special] = NEVER
        text &= ~only_stamps
    log_mass = np.logaddexp(log_mass, log_sum(tail[:, :n_special]))
    for row in np.flatnonzero(text):
        before = logits[row, : words.first_timestamp]
        text_mass = best_text[row] + np.log(np.exp(before - best_text[row]).sum())
        log_mass[row] = np.logaddexp(log_mass[row], text_mass)
    nothing = np.isneginf(log_mass)
    tail[nothing, 0] = log_mass[nothing] = 0.0
    return Allowed(text=text, tail=tail, log_mass=log_mass)


def best_tokens(top: Top, allowed: Allowed, rules: Rules) -> Top:
    """As many of the likeliest allowed tokens as ``top`` (of those before the first timestamp) has, with their
    log-probabilities among all that are allowed, NEVER where there are not as many.
    """
    count = top.tokens.shape[1]
    last = top_tokens(allowed.tail, count)
    tokens = np.hstack([top.tokens, last.tokens + rules.vocabulary.eot])
    values = np.hstack([np.where(allowed.text[:, None], top.values, np.float32(NEVER)), last.values])
    best = _rank(tokens, values, count)
    return Top(tokens=best.tokens, values=best.values - allowed.log_mass[:, None])


def sample_tokens(
    logits: Floats, top: Top, allowed: Allowed, rules: Rules, *, temperature: float, numbers: Floats
) -> Top:
    """A token a row, drawn at ``temperature`` from those allowed, with its log-probability at temperature 1.

    ``numbers`` (rows,) in [0, 1) choose.
    """
    words = rules.vocabulary
    tokens = np.empty((len(logits), 1), np.int64)
    values = np.empty((len(logits), 1), np.float32)
    for row, tail in enumerate(allowed.tail):
        has_text = allowed.text[row]
        best = max(tail.max(), top.values[row, 0]) if has_text else tail.max()
        least = best - _RARE * temperature
        places = np.flatnonzero(tail > least)
        found = tail[places]
        places += words.eot
        if has_text:
            before = np.flatnonzero(logits[row, : words.first_timestamp] > least)
            places, found = np.concatenate([before, places]), np.concatenate([logits[row, before], found])
        odds = np.exp((found - best) / temperature).cumsum(dtype=np.float64)
        drawn = min(odds.searchsorted(numbers[row] * odds[-1], side="right"), len(places) - 1)
        tokens[row], values[row] = places[drawn], found[drawn]
    return Top(tokens=tokens, values=values - allowed.log_mass[:, None])


def log_sum(logits: Floats) -> Floats:
    """Log of the sum of exponentials of each row; NEVER where all are."""
    top: Floats = logits.max(axis=1)
    shift = np.where(np.isneginf(top), np.float32(0), top)
    with np.errstate(divide="ignore"):
        return shift + np.log(np.exp(logits - shift[:, None]).sum(axis=1))


def _ngram_ends(tokens: Sequence[int], length: int) -> list[int]:
    """Tokens that would end an n-gram of ``length`` which is in ``tokens`` already."""
    starts = range(len(tokens) - length + 1)
    begun = list(tokens[len(tokens) - length + 1 :])
    return [tokens[at + length - 1] for at in starts if list(tokens[at : at + length - 1]) == begun]


def _span(tokens: Sequence[int], rules: Rules) -> tuple[bool, bool, int, int]:
    """Whether text and the end may follow ``tokens``, and the half-open range of timestamps that may."""
    begin, size = rules.vocabulary.first_timestamp, rules.vocabulary.size
    if not rules.timestamps:
        return True, True, begin, size
    if not tokens:
        return False, False, begin, min(begin + rules.max_initial + 1, size)
    if tokens[-1] < begin:
        last = next((token for token in reversed(tokens) if token >= begin), begin - 1)
        return True, True, last + 1, size
    if len(tokens) > 1 and tokens[-2] < begin:
        return False, True, tokens[-1], size
    return True, True, size, size


def _rank(tokens: Integers, values: Floats, count: int) -> Top:
    """The ``count`` largest of ``values``; of equal ones the lower token goes first."""
    if values.shape[1] > count:
        chosen = np.argpartition(-values, count - 1, axis=1)[:, :count]
        tokens, values = np.take_along_axis(tokens, chosen, 1), np.take_along_axis(values, chosen, 1)
    order = np.lexsort((tokens, -values), axis=1)
    return Top(tokens=np.take_along_axis(tokens, order, 1), values=np.take_along_axis(values, order, 1))
