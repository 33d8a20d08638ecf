"""Times of tokens from the attention of the alignment heads: normalise, smooth, dynamic time warping.

The procedure is openai/whisper's ``timing.py``; Giorgino (2009) describes the warping.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_MEDIAN_WIDTH = 7


def attention_weights(queries: Floats, keys: Floats) -> Floats:
    """Softmax of ``queries`` (L, A, d) against ``keys`` (A, S, d), scaled by d ** -0.5: (A, L, S)."""
    scores = np.matmul(queries.transpose(1, 0, 2), keys.transpose(0, 2, 1)) * np.float32(queries.shape[-1] ** -0.5)
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores


def token_starts(weights: Floats, rows: slice) -> NDArray[np.int64]:
    """First encoder position of each token in ``rows``, from ``weights`` (A, L, S) of the whole sequence, ordered."""
    deviation = weights.std(axis=1, keepdims=True)
    normal = (weights - weights.mean(axis=1, keepdims=True)) / np.maximum(deviation, 1e-9)
    matrix = _median_filter(normal).mean(axis=0)[rows]
    path = _warp(-matrix.astype(np.float64))
    first = np.diff(path[:, 0], prepend=-1) > 0
    return path[first, 1]


def _median_filter(x: Floats) -> Floats:
    """Along the last axis; the ends are mirrored."""
    half = _MEDIAN_WIDTH // 2
    if x.shape[-1] <= half:
        return x
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(half, half)], mode="reflect")
    return np.median(sliding_window_view(padded, _MEDIAN_WIDTH, axis=-1), axis=-1).astype(np.float32)


def _warp(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """Cheapest monotonic path of (row, column) pairs through ``cost`` (n, m), which visits every row.

    Cells of one anti-diagonal do not depend on one another, so each is one step of numpy.
    """
    n: int = cost.shape[0]
    m: int = cost.shape[1]
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0.0
    step = np.zeros((n + 1, m + 1), np.int8)
    for diagonal in range(2, n + m + 1):
        i = np.arange(max(1, diagonal - m), min(n, diagonal - 1) + 1)
        j = diagonal - i
        options = np.stack([total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]])
        choice = options.argmin(axis=0)
        total[i, j] = cost[i - 1, j - 1] + options[choice, np.arange(i.size)]
        step[i, j] = choice
    path: list[tuple[int, int]] = []
    row, column = n, m
    step[0, :], step[:, 0] = 2, 1
    while row > 0 or column > 0:
        path.append((row - 1, column - 1))
        choice = step[row, column]
        if choice != 2:
            row -= 1
        if choice != 1:
            column -= 1
    return np.array(path[::-1], np.int64)
