"""Times of words from queries that were kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch

from auricle.engines.alignment import attention_weights, token_cost
from auricle.engines.torch_words import Places, alignment_cost, find_places, text_logprobs, token_times

EOT = 100
STAMP = 200


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**20),
    length=st.integers(3, 12),
    heads=st.integers(1, 3),
    positions=st.sampled_from([1, 3, 8, 40]),
)
def test_the_cost_is_that_of_the_other_engines(seed: int, length: int, heads: int, positions: int):
    random = np.random.default_rng(seed)
    queries = random.normal(0, 3, (length, heads, 8)).astype(np.float32)
    keys = random.normal(0, 3, (heads, positions, 8)).astype(np.float32)
    rows = slice(2, length)
    cost = alignment_cost(torch.from_numpy(queries), torch.from_numpy(keys), rows)
    weights = attention_weights(queries, keys)
    if positions > 1:  # one position says nothing, and rounding decides
        np.testing.assert_allclose(cost.numpy(), token_cost(weights, rows), atol=1e-3)
    assert cost.shape == (length - 2, positions)


def test_the_query_that_gave_a_token_is_that_of_the_token_before_it():
    # Start of transcript, language and task at places 5 to 7, then: a timestamp, two tokens, a timestamp, the end.
    found = find_places(5, 8, [STAMP, 1, 2, STAMP + 9], 5, EOT)
    assert found == Places(all=(5, 6, 7, 8, 9, 10), text=slice(3, None))


def test_timestamps_in_the_middle_are_left_out():
    tokens = [STAMP, 1, STAMP + 3, STAMP + 3, 2, STAMP + 9]
    assert find_places(0, 3, tokens, 7, EOT).all == (0, 1, 2, 3, 6, 7)


def test_without_timestamps_the_prompt_gives_the_first_token():
    assert find_places(0, 4, [1, 2], 3, EOT) == Places(all=(0, 1, 2, 3, 4, 5), text=slice(3, None))


def test_a_text_that_was_cut_off_has_no_query_after_it():
    assert find_places(0, 4, [1, 2], 2, EOT) == Places(all=(0, 1, 2, 3, 4), text=slice(3, None))


def test_a_token_lasts_to_the_next_one_and_the_last_to_the_end():
    cost = np.full((3, 10), 1.0, np.float32)
    cost[0, :4] = cost[1, 4:6] = cost[2, 6:] = -1.0
    assert token_times(cost, 2) == ((0.0, 0.08), (0.08, 0.12))
    assert token_times(cost, 3) == ((0.0, 0.08), (0.08, 0.12), (0.12, 0.2))


def test_log_probabilities_are_among_text_alone():
    logits = torch.tensor([[1.0, 1.0, 9.0], [0.0, 5.0, 9.0]])
    found = text_logprobs(logits, torch.tensor([0, 1]), 2)
    assert found.exp().tolist() == pytest.approx([0.5, 1 / (1 + np.exp(-5))])
