"""Gives each piece of speech a speaker: the likeliest sequence, where speakers change rarely and rather in pauses."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from auricle.types import Span
from auricle.units import SAMPLE_RATE

Scores = NDArray[np.float64]
Places = NDArray[np.int64]

# What a change of speakers costs, in similarity times seconds of speech: in the middle of speech, and after a pause of
# half a second or more. Calibrated, see ``benchmarks/diarization.py``.
_CHANGE = 0.12
_CHANGE_IN_PAUSE = 0.03
_PAUSE_S = 0.5


def unit_scores(reads: Places, similarities: NDArray[np.float32], units: Places) -> Scores:
    """Similarity of each unit to each speaker: the mean of the reads that cover it, by how much they do.

    ``reads`` (n, 2) and ``units`` (m, 2) are half-open ranges of frames, the units in order and disjoint;
    ``similarities`` is (n, speakers).
    """
    first = np.searchsorted(units[:, 1], reads[:, 0], side="right")
    last = np.searchsorted(units[:, 0], reads[:, 1], side="left")
    counts = last - first
    read: Places = np.repeat(np.arange(len(reads)), counts)
    unit: Places = np.arange(len(read)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    # A long read tells more about each of its frames than a short one.
    overlap = np.minimum(reads[read, 1], units[unit, 1]) - np.maximum(reads[read, 0], units[unit, 0])
    weight = (overlap * (reads[read, 1] - reads[read, 0])).astype(np.float64)
    scores = np.zeros((len(units), similarities.shape[1]))
    np.add.at(scores, unit, weight[:, None] * similarities[read])
    return scores / np.maximum(np.bincount(unit, weight, len(units)), 1e-9)[:, None]


def assign(scores: Scores, spans: list[Span]) -> Places:
    """The speaker of each unit; Viterbi's algorithm."""
    seconds: NDArray[np.float64] = np.array([span.length for span in spans]) / SAMPLE_RATE
    gaps = np.array([later.start - span.end for span, later in pairwise(spans)]) / SAMPLE_RATE
    quiet: NDArray[np.float64] = np.clip(gaps / _PAUSE_S, 0.0, 1.0)
    prices: NDArray[np.float64] = _CHANGE + (_CHANGE_IN_PAUSE - _CHANGE) * quiet
    gains: Scores = scores * seconds[:, None]
    total: Scores = gains[0]
    came_from = np.zeros(scores.shape, np.int64)
    stay = np.arange(int(scores.shape[1]))
    for index, price in enumerate(prices.tolist(), start=1):
        best = int(total.argmax())
        other = float(total[best]) - price
        came_from[index] = np.where(other > total, best, stay)
        total = np.maximum(total, other) + gains[index]
    path = np.empty(len(scores), np.int64)
    path[-1] = int(total.argmax())
    for index in range(len(scores) - 1, 0, -1):
        path[index - 1] = came_from[index, path[index]]
    return path
