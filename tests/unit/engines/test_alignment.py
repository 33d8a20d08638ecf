import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.engines.alignment import attention_weights, median_filter, token_starts, warp


def test_tokens_start_where_their_attention_lies():
    # Twelve tokens of five positions each, with a clear ridge and some noise.
    random = np.random.default_rng(3)
    weights = random.uniform(0, 0.05, (2, 12, 60)).astype(np.float32)
    for token in range(12):
        weights[:, token, token * 5 : token * 5 + 5] += 1.0
    starts = token_starts(weights, slice(0, 12))
    assert len(starts) == 12
    assert np.abs(starts - np.arange(12) * 5).max() <= 1


def test_attention_is_a_probability_over_positions():
    random = np.random.default_rng(4)
    queries, keys = random.normal(size=(7, 3, 8)).astype(np.float32), random.normal(size=(3, 20, 8)).astype(np.float32)
    weights = attention_weights(queries, keys)
    assert weights.shape == (3, 7, 20)
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-5)


@given(st.integers(1, 15), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_any_attention_gives_each_token_one_start_in_order(tokens: int, positions: int, seed: int):
    weights = np.random.default_rng(seed).uniform(size=(2, tokens, positions)).astype(np.float32)
    starts = token_starts(weights, slice(0, tokens))
    assert len(starts) == tokens
    assert (np.diff(starts) >= 0).all()
    assert starts[0] == 0
    assert starts[-1] < positions


@given(st.integers(1, 8), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_the_path_is_the_cheapest_one(tokens: int, positions: int, seed: int):
    cost = np.random.default_rng(seed).uniform(-1, 1, (tokens, positions))
    best = np.full((tokens + 1, positions + 1), np.inf)
    best[0, 0] = 0.0
    for row in range(tokens):
        for column in range(positions):
            before = min(best[row, column], best[row, column + 1], best[row + 1, column])
            best[row + 1, column + 1] = cost[row, column] + before
    starts = warp(cost)
    # From its start to the start of the next one, or one less where the path goes down at an angle.
    ends = [*starts[1:], positions - 1]
    least = 0.0
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        straight = cost[row, start : end + 1].sum()
        angled = cost[row, start:end].sum() if row < tokens - 1 and end > start else straight
        least += min(straight, angled)
    assert least == pytest.approx(best[-1, -1])


def test_the_median_of_seven_is_the_median():
    random = np.random.default_rng(5)
    x = random.uniform(size=(3, 40)).astype(np.float32)
    padded = np.pad(x, [(0, 0), (3, 3)], mode="reflect")
    expected = [[np.median(row[at : at + 7]) for at in range(40)] for row in padded]
    np.testing.assert_array_equal(median_filter(x), np.array(expected, np.float32))


def test_a_window_shorter_than_the_median_is_left_as_it_is():
    x = np.array([[3.0, 1.0, 2.0]], np.float32)
    assert median_filter(x) is x
