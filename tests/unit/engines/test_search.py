import math

import numpy as np
import pytest

from auricle.engines.rules import NEVER
from auricle.engines.search import Beams, Samples, Search, count_choices, make_search
from auricle.types import DecodingOptions

EOT = 5


def advance(search: Search, *choices: list[tuple[int, float]], is_last: bool = False) -> list[int]:
    """One step: the tokens of each live hypothesis with their log-probabilities."""
    tokens = np.array([[token for token, _ in row] for row in choices])
    values = np.array([[value for _, value in row] for row in choices], np.float32)
    return search.advance(tokens, values, EOT, is_last=is_last)


def test_greedy_search_ends_where_the_end_is_the_likeliest():
    search = Beams(width=1, patience=1.0, length_penalty=1.0)
    assert advance(search, [(3, -0.1)]) == [0]
    advance(search, [(EOT, -0.2)])
    assert search.is_done
    assert (search.best().tokens, search.best().score) == ([3], pytest.approx(-0.3))


def test_beam_search_finds_a_sentence_that_begins_with_the_less_likely_word():
    search = Beams(width=2, patience=1.0, length_penalty=1.0)
    advance(search, [(1, math.log(0.6)), (2, math.log(0.4))])
    advance(search, [(EOT, math.log(0.3)), (3, math.log(0.2))], [(EOT, math.log(0.9)), (3, math.log(0.05))])
    assert search.is_done
    assert search.best().tokens == [2]


def test_beams_say_which_hypothesis_each_continues():
    search = Beams(width=2, patience=1.0, length_penalty=1.0)
    assert advance(search, [(1, -0.5), (2, -0.6), (3, -9.0), (4, -9.0)]) == [0, 0]
    assert advance(search, [(1, -5.0), (2, -6.0)], [(3, -0.1), (4, -0.2)]) == [1, 1]
    assert [hypothesis.tokens for hypothesis in search.live] == [[2, 3], [2, 4]]


def test_more_patience_waits_for_more_finished_hypotheses():
    for patience, is_done in ((1.0, True), (2.0, False)):
        search = Beams(width=1, patience=patience, length_penalty=1.0)
        advance(search, [(EOT, -0.1), (1, -0.2)])
        assert search.is_done is is_done


def test_a_search_that_runs_out_of_room_gives_what_it_has():
    for search in (
        Beams(width=2, patience=1.0, length_penalty=1.0),
        Samples(numbers=np.zeros((2, 9), np.float32), length_penalty=1.0),
    ):
        advance(search, *[[(1, -0.1), (2, -0.2)] for _ in search.live], is_last=True)
        assert search.is_done
        assert search.best().tokens in ([1], [2])


def test_beams_take_no_token_that_is_impossible():
    search = Beams(width=2, patience=1.0, length_penalty=1.0)
    assert advance(search, [(1, -0.1), (2, NEVER), (3, NEVER), (4, NEVER)]) == [0]
    assert [hypothesis.tokens for hypothesis in search.live] == [[1]]


def test_samples_go_on_alone_until_each_has_ended():
    search = Samples(numbers=np.zeros((3, 9), np.float32), length_penalty=1.0)
    assert advance(search, [(1, -0.1)], [(2, -0.2)], [(EOT, -3.0)]) == [0, 1]
    assert advance(search, [(EOT, -0.1)], [(3, -0.9)]) == [1]
    assert not search.is_done
    advance(search, [(EOT, -0.1)])
    assert search.is_done
    assert search.best().tokens == [1]


def test_the_temperature_decides_between_beams_and_samples():
    assert isinstance(make_search(DecodingOptions(beam_size=3), None), Beams)
    assert isinstance(make_search(DecodingOptions(temperature=0.4), np.zeros((2, 9), np.float32)), Samples)


def test_a_step_takes_twice_as_many_tokens_as_there_are_beams():
    assert count_choices(DecodingOptions(beam_size=5)) == 10
    assert count_choices(DecodingOptions(beam_size=1)) == 1
    assert count_choices(DecodingOptions(beam_size=5, temperature=0.2)) == 1
