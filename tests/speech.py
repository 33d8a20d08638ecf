"""Synthetic speech whose place is known, and a classifier that finds it, for tests of what is built on the VAD."""

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from auricle.types import Samples

FRAME = 512


def classify(frames: Samples) -> NDArray[np.float32]:
    """Loud frames are speech; stands for the network."""
    return (np.abs(frames[:, 64:]).mean(axis=1) > 0.05).astype(np.float32)


def synthesize(pattern: list[tuple[int, int]], tail: int = 0) -> Samples:
    """(frames of silence, frames of speech) in turn, then ``tail`` samples of silence; frames differ in loudness."""
    rng = np.random.default_rng(0)
    parts: list[Samples] = []
    for silent, spoken in pattern:
        parts.append(np.zeros(silent * FRAME, np.float32))
        loudness = np.repeat(rng.uniform(0.2, 0.9, spoken), FRAME)
        parts.append((loudness * rng.choice([-1.0, 1.0], loudness.size)).astype(np.float32))
    return np.concatenate([*parts, np.zeros(tail, np.float32)])


patterns = st.lists(st.tuples(st.integers(0, 120), st.integers(1, 300)), min_size=0, max_size=30)
"""Up to 4 s of silence and 10 s of speech in turn."""

long_patterns = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 3_000)), min_size=1, max_size=4)
"""Speech that may run for 96 s."""


def blocks(samples: Samples, sizes: list[int]) -> list[Samples]:
    """``samples`` in blocks of these sizes, over and over."""
    parts: list[Samples] = []
    start = 0
    while start < samples.size:
        size = sizes[len(parts) % len(sizes)]
        parts.append(samples[start : start + size])
        start += size
    return parts


block_sizes = st.lists(st.integers(1, 600_000), min_size=1, max_size=5).filter(lambda sizes: sum(sizes) > 20_000)
