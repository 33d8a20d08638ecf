import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.pipeline.fallback import Verdict, choose_best, compression_ratio, is_loop, judge
from auricle.types import Decoding, TranscribeOptions

OPTIONS = TranscribeOptions()
LOOP_TEXT = "and again " * 40


def test_probable_text_is_accepted():
    assert judge(Decoding(avg_logprob=-0.3, no_speech_prob=0.1), "Good morning.", OPTIONS) is Verdict.ACCEPT


def test_improbable_text_is_tried_again():
    assert judge(Decoding(avg_logprob=-1.2, no_speech_prob=0.1), "Good morning.", OPTIONS) is Verdict.RETRY


def test_text_that_compresses_too_well_is_tried_again():
    assert judge(Decoding(avg_logprob=-0.1), LOOP_TEXT, OPTIONS) is Verdict.RETRY


def test_a_short_loop_that_the_compression_ratio_misses_is_tried_again():
    looping = Decoding(tokens=(7, *[5, 6] * 12), avg_logprob=-0.1)
    assert compression_ratio("short") < 2.4
    assert judge(looping, "short", OPTIONS) is Verdict.RETRY


def test_a_digit_said_six_times_is_no_loop():
    assert not is_loop([11, 12] * 6)


def test_improbable_text_in_silence_is_silence_and_not_tried_again():
    assert judge(Decoding(avg_logprob=-1.2, no_speech_prob=0.7), "Thanks.", OPTIONS) is Verdict.SILENT


def test_probable_text_is_kept_even_where_the_model_doubts_speech():
    assert judge(Decoding(avg_logprob=-0.2, no_speech_prob=0.9), "Yes.", OPTIONS) is Verdict.ACCEPT


def test_without_a_logprob_threshold_the_no_speech_probability_alone_decides():
    options = TranscribeOptions(logprob_threshold=None)
    assert judge(Decoding(avg_logprob=-0.1, no_speech_prob=0.7), "Yes.", options) is Verdict.SILENT


@pytest.mark.parametrize(
    ("options", "avg_logprob", "text"),
    [
        (TranscribeOptions(compression_ratio_threshold=None), -0.1, LOOP_TEXT),
        (TranscribeOptions(logprob_threshold=None), -9.0, "fine"),
    ],
)
def test_a_threshold_that_is_switched_off_never_fails(options: TranscribeOptions, avg_logprob: float, text: str):
    assert judge(Decoding(avg_logprob=avg_logprob), text, options) is Verdict.ACCEPT


def test_the_best_failed_try_is_the_most_probable_one_that_does_not_repeat_itself():
    loop = (Decoding(avg_logprob=-0.1, temperature=0.0), LOOP_TEXT)
    weak = (Decoding(avg_logprob=-1.8, temperature=0.2), "a b c")
    better = (Decoding(avg_logprob=-1.3, temperature=0.4), "a b d")
    assert choose_best([loop, weak, better], OPTIONS) is better[0]
    assert choose_best([loop], OPTIONS) is loop[0]


@given(st.text())
def test_compression_ratio_is_finite_and_zero_for_no_text_only(text: str):
    assert (compression_ratio(text) > 0) == bool(text)
