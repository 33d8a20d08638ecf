import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.pipeline.context import context_frames, trust_short_context
from auricle.types import Decoding, TranscribeOptions
from auricle.units import N_SAMPLES, SAMPLE_RATE

EOT = 50257
OPTIONS = TranscribeOptions()
GOOD = Decoding(tokens=(50364, 1, 2, 3, 50400), avg_logprob=-0.3, no_speech_prob=0.1)


@given(st.integers(0, N_SAMPLES))
def test_the_context_holds_the_audio_and_some_silence_after_it(samples: int):
    frames = context_frames(samples, "auto")
    assert 600 <= frames <= 3000
    assert frames % 200 == 0
    assert frames == 3000 or frames * 160 >= samples + 2.56 * SAMPLE_RATE
    assert context_frames(samples, "full") == 3000


@pytest.mark.parametrize(("seconds", "frames"), [(0, 600), (3, 600), (5, 800), (10, 1400), (28, 3000), (30, 3000)])
def test_the_context_grows_with_the_audio(seconds: int, frames: int):
    assert context_frames(seconds * SAMPLE_RATE, "auto") == frames


def trusted(decoding: Decoding, text: str = "Good morning.", seconds: float = 3.0) -> bool:
    return trust_short_context(decoding, text, round(seconds * SAMPLE_RATE), EOT, OPTIONS)


def test_probable_text_is_trusted():
    assert trusted(GOOD)


@pytest.mark.parametrize(
    ("decoding", "text"),
    [
        (Decoding(tokens=GOOD.tokens, avg_logprob=-1.2), "Good morning."),
        (Decoding(tokens=GOOD.tokens, avg_logprob=-1.2, no_speech_prob=0.9), "Good morning."),
        (Decoding(tokens=GOOD.tokens, avg_logprob=-0.1), "and again " * 40),
        (Decoding(tokens=(50364, 50400), avg_logprob=-0.1), ""),
    ],
    ids=["improbable", "silent", "repetitive", "empty"],
)
def test_what_looks_wrong_is_not(decoding: Decoding, text: str):
    assert not trusted(decoding, text)


def test_more_text_than_can_be_said_is_not_trusted():
    many = Decoding(tokens=tuple(range(40)), avg_logprob=-0.3)
    assert trusted(many, seconds=4.0)
    assert not trusted(many, seconds=3.0)


def test_one_quick_word_is_not_too_much():
    assert trusted(Decoding(tokens=(1, 2, 3), avg_logprob=-0.3), seconds=0.2)
