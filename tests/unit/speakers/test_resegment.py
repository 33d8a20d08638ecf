"""Resegmentation: scores of units, and the likeliest sequence of speakers."""

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.speakers import resegment
from auricle.speakers.resegment import assign, unit_scores
from auricle.types import Span


def spans_of(gaps: list[float], seconds: float = 0.4) -> list[Span]:
    """Units of one length with these pauses between."""
    spans: list[Span] = []
    position = 0
    for gap in [0.0, *gaps]:
        start = position + round(gap * 16_000)
        position = start + round(seconds * 16_000)
        spans.append(Span(start=start, end=position))
    return spans


def value(path: tuple[int, ...], scores: np.ndarray, spans: list[Span]) -> float:
    """What a path is worth, by definition."""
    total = sum(scores[i, s] * spans[i].length / 16_000 for i, s in enumerate(path))
    for i in range(1, len(path)):
        if path[i] != path[i - 1]:
            quiet = min(1.0, (spans[i].start - spans[i - 1].end) / 16_000 / resegment._PAUSE_S)
            total -= resegment._CHANGE + (resegment._CHANGE_IN_PAUSE - resegment._CHANGE) * quiet
    return total


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=0, max_size=5), st.integers(1, 3), st.integers(0, 10_000))
def test_no_sequence_is_worth_more(gaps: list[float], n_speakers: int, seed: int) -> None:
    spans = spans_of(gaps)
    scores = np.random.default_rng(seed).uniform(0, 1, (len(spans), n_speakers))
    best = max(value(path, scores, spans) for path in product(range(n_speakers), repeat=len(spans)))
    assert np.isclose(value(tuple(assign(scores, spans).tolist()), scores, spans), best)


def test_a_short_doubt_changes_no_speaker() -> None:
    scores = np.array([[0.9, 0.5]] * 5 + [[0.6, 0.65]] + [[0.9, 0.5]] * 5)
    assert not assign(scores, spans_of([0.0] * 10)).any()


def test_speakers_change_where_the_voice_does() -> None:
    scores = np.array([[0.9, 0.5]] * 5 + [[0.5, 0.9]] * 5)
    assert assign(scores, spans_of([0.0] * 9)).tolist() == [0] * 5 + [1] * 5


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 160)), min_size=1, max_size=12),
    st.integers(0, 10_000),
)
def test_scores_of_units_are_the_mean_of_what_covers_them(
    lengths: list[int], places: list[tuple[int, int]], seed: int
) -> None:
    edges = np.concatenate([[0], np.cumsum(lengths)])
    units = np.stack([edges[:-1], edges[1:]], axis=1)
    total = int(edges[-1])
    reads = np.array([(start % total, min(total, start % total + length)) for start, length in places])
    similarities = np.random.default_rng(seed).uniform(0, 1, (len(reads), 2)).astype(np.float32)
    scores = unit_scores(reads, similarities, units)
    for unit, (first, last) in enumerate(units):
        weights = [max(0, min(last, b) - max(first, a)) * (b - a) for a, b in reads]
        expected = np.average(similarities, axis=0, weights=weights) if sum(weights) else np.zeros(2)
        assert np.allclose(scores[unit], expected)
