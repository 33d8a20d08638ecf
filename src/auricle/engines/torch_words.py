"""Times of the text tokens from the queries that were kept while they were decoded: no second run of the decoder.

The attention of the alignment heads is computed, normalised and smoothed on the device, as ``alignment.py`` does it;
the warping is done by other threads of the host, while the next tokens are decoded.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyTorch's functions carry incomplete types.

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from auricle.engines.alignment import EXCHANGES, MEDIAN_WIDTH, warp
from auricle.units import TIMESTAMP_S

_LEAST_DEVIATION = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where in a slot the queries of a text are."""

    all: tuple[int, ...]
    """Those of the start sequence, of each text token and of the end, without timestamps: what is normalised over."""
    text: slice
    """Of ``all``: the queries that gave the text tokens, and what came after the last one where that was decoded."""


def find_places(start: int, prompt_length: int, tokens: Sequence[int], steps: int, eot: int) -> Places:
    """Places of the text among ``tokens``, at least one, which were decoded behind a prompt in ``steps`` steps.

    ``start`` is the place of the start of transcript. The query that gave a token is that of the token before it.
    """
    first = prompt_length - 1
    given = [first + number for number, token in enumerate(tokens) if token < eot]
    if given[-1] + 1 < first + steps:
        given.append(given[-1] + 1)
    before = [place for place in range(start, prompt_length) if place not in given[:1]]
    return Places(all=(*before, *given), text=slice(len(before), None))


def alignment_cost(queries: Tensor, keys: Tensor, text: slice) -> Tensor:
    """What it costs that a token is at a position: float32 (tokens of ``text``, S).

    ``queries`` (L, A, d) are those of a whole sequence, not scaled, ``keys`` (A, S, d) those of the window.
    """
    scores = queries.transpose(0, 1).float() @ keys.float().transpose(1, 2)
    weights = (scores * queries.shape[-1] ** -0.5).softmax(-1)
    deviation = weights.std(1, correction=0, keepdim=True).clamp(min=_LEAST_DEVIATION)
    normal = (weights[:, text] - weights.mean(1, keepdim=True)) / deviation
    # On a processor one head at a time stays in its cache.
    parts = normal.split(1 if normal.device.type == "cpu" else len(normal))
    return -torch.stack([_median_filter(part).sum(0) for part in parts]).sum(0) / len(normal)


def text_logprobs(logits: Tensor, tokens: Tensor, eot: int) -> Tensor:
    """Log-probability among text of ``tokens`` (n,), from ``logits`` (n, vocabulary) that no rule has touched."""
    return logits.gather(1, tokens[:, None])[:, 0] - logits[:, :eot].logsumexp(1)


def token_times(cost: NDArray[np.float32], count: int) -> tuple[tuple[float, float], ...]:
    """Start and end in seconds of the window of ``count`` text tokens, from their ``alignment_cost``."""
    starts: list[int] = warp(cost.astype(np.float64)).tolist()
    if len(starts) == count:  # nothing was decoded after the last one, which lasts to the end of the window
        starts.append(cost.shape[1])
    return tuple(pairwise(start * TIMESTAMP_S for start in starts))


def _median_filter(x: Tensor) -> Tensor:
    """As ``alignment.median_filter``."""
    half, width = MEDIAN_WIDTH // 2, x.shape[-1]
    if width <= half:
        return x
    padded = functional.pad(x, (half, half), mode="reflect")
    values = [padded[..., shift : shift + width] for shift in range(MEDIAN_WIDTH)]
    for low, high in EXCHANGES:
        values[low], values[high] = torch.minimum(values[low], values[high]), torch.maximum(values[low], values[high])
    return values[half]
