import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from auricle.engines.alignment import attention_weights, token_starts


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
