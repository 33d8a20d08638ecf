import pytest

from auricle.pipeline.language import vote
from auricle.types import Decoding


def detection(**probabilities: float) -> Decoding:
    ranked = sorted(probabilities.items(), key=lambda pair: -pair[1])
    return Decoding(language_probabilities=tuple(ranked))


def test_long_speech_outvotes_a_short_greeting_in_another_language():
    ballots = [(detection(de=0.9, en=0.1), 1.0), (detection(en=0.7, de=0.3), 20.0), (detection(en=0.6, de=0.4), 20.0)]
    language, probability = vote(ballots, [])
    assert language == "en"
    assert probability == pytest.approx((0.1 + 14 + 12) / 41)


def test_only_allowed_languages_count_and_the_probability_is_over_them():
    language, probability = vote([(detection(en=0.9, de=0.08, fr=0.02), 5.0)], ["de", "fr"])
    assert language == "de"
    assert probability == pytest.approx(0.8)


def test_a_vote_without_a_candidate_takes_the_first_allowed_language_with_no_confidence():
    assert vote([(detection(en=1.0), 5.0)], ["de"]) == ("de", 0.0)
