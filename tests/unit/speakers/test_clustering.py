"""Clustering: average linkage as scipy's, the number of speakers, and bounded memory."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import linkage

from auricle.speakers.base import Voices
from auricle.speakers.clustering import choose_groups, find_speakers, link


def random_voices(n: int, seed: int, dim: int = 16) -> Voices:
    voices = np.abs(np.random.default_rng(seed).normal(size=(n, dim))).astype(np.float32)
    return voices / np.linalg.norm(voices, axis=1, keepdims=True)


def speakers(counts: list[int], seed: int = 0, spread: float = 0.35) -> tuple[Voices, np.ndarray]:
    """Voices of some speakers, mixed, and whose each is: alike by 0.9 within a speaker, 0 between two."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    voices = np.eye(32)[truth] + rng.normal(size=(len(truth), 32)) * spread / np.sqrt(32)
    return (voices / np.linalg.norm(voices, axis=1, keepdims=True)).astype(np.float32), truth


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 60), st.integers(0, 10_000))
def test_linkage_equals_that_of_scipy(n: int, seed: int) -> None:
    voices = random_voices(n, seed)
    expected = 1 - linkage(voices.astype(np.float64), method="average", metric="cosine")[:, 2]
    assert np.allclose([merge.similarity for merge in link(voices)], expected, atol=1e-5)


@pytest.mark.parametrize("counts", [[30], [20, 20], [40, 10, 10], [15, 12, 9, 8]])
def test_the_number_of_speakers_is_found(counts: list[int]) -> None:
    voices, truth = speakers(counts)
    found = find_speakers(voices, np.full(len(voices), 1.6))
    assert len(found) == len(counts)
    nearest = np.argmax(voices @ found.T, axis=1)
    assert all(len(set(nearest[truth == speaker])) == 1 for speaker in range(len(counts)))


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_as_many_speakers_are_found_as_are_asked_for(number: int) -> None:
    voices, _ = speakers([20, 20, 20])
    assert len(find_speakers(voices, np.full(60, 1.6), at_least=number, at_most=number)) == number


def test_bounds_hold() -> None:
    voices, _ = speakers([20, 20, 20])
    seconds = np.full(60, 1.6)
    assert len(find_speakers(voices, seconds, at_most=2)) == 2
    assert len(find_speakers(voices, seconds, at_least=4)) == 4
    assert len(find_speakers(voices, seconds, at_least=2, at_most=5)) == 3


def test_there_are_never_more_speakers_than_voices() -> None:
    voices, _ = speakers([1, 1])
    assert len(find_speakers(voices, np.full(2, 1.6), at_least=9, at_most=9)) == 2
    assert len(find_speakers(voices[:1], np.full(1, 1.6), at_least=9)) == 1
    assert len(find_speakers(voices[:0], np.zeros(0))) == 0


def test_a_single_odd_excerpt_is_no_speaker() -> None:
    voices, truth = speakers([30, 30, 1])
    assert len(find_speakers(voices, np.full(61, 1.6))) == 2
    labels = choose_groups(link(voices), np.full(61, 1.6))
    assert labels[truth == 2] == -1


def test_who_spoke_most_comes_first() -> None:
    voices, truth = speakers([10, 40])
    found = find_speakers(voices, np.full(50, 1.6))
    assert np.argmax(voices[truth == 1].mean(axis=0) @ found.T) == 0


def test_the_table_of_pairs_is_bounded_for_a_long_file() -> None:
    voices, truth = speakers([2500, 2000, 1000, 300])
    tracemalloc.start()
    try:
        found = find_speakers(voices, np.full(len(voices), 1.6))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 80e6, "the table of all pairs alone would be 134 MB"
    assert len(found) == 4
    nearest = np.argmax(voices @ found.T, axis=1)
    assert all(len(set(nearest[truth == speaker])) == 1 for speaker in range(4))
