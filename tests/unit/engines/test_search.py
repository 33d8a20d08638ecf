import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from auricle.engines.search import (
    NEVER,
    Beams,
    Samples,
    Scores,
    Vocabulary,
    allowed_next,
    best_tokens,
    make_search,
    sample_token,
    top_tokens,
)
from auricle.types import DecodingOptions

# Five text tokens, the end, two special tokens, six timestamps.
VOCABULARY = Vocabulary(eot=5, first_timestamp=8, size=14)
EOT = VOCABULARY.eot


def scores_of(**odds: float) -> Scores:
    """Log-probabilities; ``t3`` is text token 3, ``s2`` timestamp 2, ``end`` the end."""
    probabilities = np.full(VOCABULARY.size, 1e-9)
    for name, value in odds.items():
        index = EOT if name == "end" else int(name[1:]) + (VOCABULARY.first_timestamp if name[0] == "s" else 0)
        probabilities[index] = value
    logprobs = np.log(probabilities / probabilities.sum()).astype(np.float32)
    tokens, values = top_tokens(logprobs[None, : VOCABULARY.first_timestamp], 4)
    return Scores(logprobs=logprobs, top_tokens=tokens[0], top_values=values[0])


def next_tokens(tokens: list[int], scores: Scores, **options) -> list[int]:
    settings = {"timestamps": True, "max_initial": 3} | options
    return [token for token, _ in best_tokens(scores, allowed_next(tokens, scores, VOCABULARY, **settings), VOCABULARY)]


def stamp(step: int) -> int:
    return VOCABULARY.first_timestamp + step


def test_the_first_token_is_a_timestamp_that_is_not_too_late():
    first = next_tokens([], scores_of(t0=0.5, s5=0.4, s2=0.1))
    assert first[0] == stamp(2)
    assert all(stamp(0) <= token <= stamp(3) for token in first)


def test_a_timestamp_that_opens_a_segment_is_followed_by_text_or_the_end():
    assert all(token < VOCABULARY.first_timestamp for token in next_tokens([stamp(1)], scores_of(s3=0.9, t1=0.1)))
    assert next_tokens([stamp(0), 1, stamp(2), stamp(2)], scores_of(s4=0.9, t1=0.1))[0] == 1


def test_a_timestamp_that_closes_a_segment_is_followed_by_its_pair_or_the_end():
    after = next_tokens([stamp(0), 1, stamp(3)], scores_of(t1=0.5, s3=0.2, s1=0.2, end=0.1))
    assert after[0] == stamp(3)
    assert set(after) & {0, 1, 2, 3, 4, stamp(0), stamp(1), stamp(2)} == set()


def test_timestamps_never_go_back_and_a_segment_has_a_length():
    after = next_tokens([stamp(2), 1], scores_of(s1=0.45, s2=0.35, s3=0.2))
    assert after[0] == stamp(3)


def test_timestamps_win_where_they_are_likelier_together_than_any_text():
    assert next_tokens([stamp(0), 1], scores_of(t2=0.4, s1=0.2, s2=0.2, s3=0.2))[0] >= VOCABULARY.first_timestamp
    assert next_tokens([stamp(0), 1], scores_of(t2=0.6, s1=0.2, s2=0.2))[0] == 2


def test_log_probabilities_are_among_the_allowed_tokens():
    scores = scores_of(t0=0.5, s2=0.3, s1=0.2)
    allowed = allowed_next([], scores, VOCABULARY, timestamps=True, max_initial=3)
    found = dict(best_tokens(scores, allowed, VOCABULARY))
    assert math.exp(found[stamp(2)]) == pytest.approx(0.6, rel=1e-4)


def test_without_timestamps_the_likeliest_token_wins_whatever_it_is():
    assert next_tokens([], scores_of(t4=0.6, s2=0.4), timestamps=False)[0] == 4


def test_a_sample_is_allowed_and_follows_the_probabilities():
    scores = scores_of(t1=0.75, t2=0.25)
    allowed = allowed_next([stamp(0)], scores, VOCABULARY, timestamps=True, max_initial=3)
    random = np.random.default_rng(1)
    drawn = [sample_token(scores, allowed, VOCABULARY, 1.0, random)[0] for _ in range(2000)]
    assert set(drawn) == {1, 2}
    assert np.mean(np.array(drawn) == 1) == pytest.approx(0.75, abs=0.04)


@given(hnp.arrays(np.float32, (3, 200), elements=st.floats(-50, 0, width=32)), st.integers(1, 20))
def test_the_ranking_by_blocks_is_the_ranking(logprobs, count: int):
    tokens, values = top_tokens(logprobs, count)
    assert np.array_equal(values, -np.sort(-logprobs, axis=1)[:, :count])
    assert np.array_equal(np.take_along_axis(logprobs, tokens, 1), values)


def test_greedy_search_ends_where_the_end_is_the_likeliest():
    search = Beams(width=1, patience=1.0, length_penalty=1.0)
    assert search.advance([[(3, -0.1)]], EOT, is_last=False) == [0]
    search.advance([[(EOT, -0.2)]], EOT, is_last=False)
    assert search.is_done
    assert (search.best().tokens, search.best().score) == ([3], pytest.approx(-0.3))


def test_beam_search_finds_a_sentence_that_begins_with_the_less_likely_word():
    search = Beams(width=2, patience=1.0, length_penalty=1.0)
    search.advance([[(1, math.log(0.6)), (2, math.log(0.4))]], EOT, is_last=False)
    first, second = [(EOT, math.log(0.3)), (3, math.log(0.2))], [(EOT, math.log(0.9)), (3, math.log(0.05))]
    search.advance([first, second], EOT, is_last=False)
    assert search.is_done
    assert search.best().tokens == [2]


def test_a_search_that_runs_out_of_room_gives_what_it_has():
    for search in (Beams(width=2, patience=1.0, length_penalty=1.0), Samples(width=2, length_penalty=1.0)):
        choices = [[(1, -0.1), (2, -0.2)] for _ in search.live]
        search.advance(choices, EOT, is_last=True)
        assert search.is_done
        assert search.best().tokens in ([1], [2])


def test_the_temperature_decides_between_beams_and_samples():
    assert isinstance(make_search(DecodingOptions(beam_size=3)), Beams)
    assert isinstance(make_search(DecodingOptions(temperature=0.4, best_of=2)), Samples)


def test_impossible_tokens_are_never_chosen():
    logprobs = np.full(VOCABULARY.size, NEVER, np.float32)
    logprobs[EOT] = 0.0
    tokens, values = top_tokens(logprobs[None, : VOCABULARY.first_timestamp], 4)
    scores = Scores(logprobs=logprobs, top_tokens=tokens[0], top_values=values[0])
    assert next_tokens([stamp(0)], scores) == [EOT]
