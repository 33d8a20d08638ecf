"""Times of tokens from the attention of the alignment heads: normalise, smooth, dynamic time warping.

The procedure is openai/whisper's ``timing.py``; Giorgino (2009) describes the warping.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

MEDIAN_WIDTH = 7
EXCHANGES = ((0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6), (2, 3), (3, 6), (4, 5), (1, 4), (1, 3), (3, 4))
"""Pairs of places to be put in order, one after the other; then the fourth of seven values is their median."""


def attention_weights(queries: Floats, keys: Floats) -> Floats:
    """Softmax of ``queries`` (L, A, d) against ``keys`` (A, S, d), scaled by d ** -0.5: (A, L, S)."""
    scores = np.empty((len(keys), len(queries), keys.shape[1]), np.float32)
    # One query at a time: a product of matrices wakes numpy's threads, which then wait busily, beside the engine's.
    for head, own in enumerate(keys):
        for place, query in enumerate(queries[:, head] * np.float32(queries.shape[-1] ** -0.5)):
            np.dot(own, query, out=scores[head, place])
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores


def token_starts(weights: Floats, rows: slice) -> NDArray[np.int64]:
    """First encoder position of each token in ``rows``, from ``weights`` (A, L, S) of the whole sequence, ordered."""
    return warp(token_cost(weights, rows))


def token_cost(weights: Floats, rows: slice) -> NDArray[np.float64]:
    """What it costs that a token of ``rows`` is at a position: (tokens, S)."""
    matrix = np.zeros(weights[0, rows].shape)
    for head in weights:  # one at a time stays in the processor's cache
        normal = (head[rows] - head.mean(axis=0)) / np.maximum(head.std(axis=0), 1e-9)
        matrix -= median_filter(normal)
    return matrix / len(weights)


def median_filter(x: Floats) -> Floats:
    """Along the last axis; the ends are mirrored."""
    half = MEDIAN_WIDTH // 2
    if x.shape[-1] <= half:
        return x
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(half, half)], mode="reflect")
    # Exchanges of whole arrays are ten times faster than to sort each window of seven.
    values = [padded[..., shift : shift + x.shape[-1]] for shift in range(MEDIAN_WIDTH)]
    for low, high in EXCHANGES:
        values[low], values[high] = np.minimum(values[low], values[high]), np.maximum(values[low], values[high])
    return values[half]


def warp(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """First column of each row on the cheapest monotonic path through ``cost`` (n, m) from corner to corner.

    A cell's total is its row's costs from some column on to it, and the best total above that column. With sums of
    the row these are running minima, so a row is a few steps of numpy.
    """
    n: int = cost.shape[0]
    m: int = cost.shape[1]
    entry = np.empty((n, m))
    """Best total above a column, less the row's costs before that column."""
    total = np.empty((n, m))
    above = np.full(m + 1, np.inf)
    above[0] = 0.0
    for row in range(n):
        sums = cost[row].cumsum()
        entry[row] = np.minimum(above[:-1], above[1:])
        entry[row, 1:] -= sums[:-1]
        total[row] = sums + np.minimum.accumulate(entry[row])
        above[0], above[1:] = np.inf, total[row]
    starts = np.empty(n, np.int64)
    column = m - 1
    for row in reversed(range(n)):
        # Of equal ones the last: the path leaves a row as soon as it can.
        column -= int(entry[row, column::-1].argmin())
        starts[row] = column
        if row > 0 and column > 0 and total[row - 1, column - 1] <= total[row - 1, column]:
            column -= 1
    return starts
