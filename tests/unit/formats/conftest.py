"""A transcript with everything in it."""

import pytest
from spoken_words import spell

from auricle.types import Dropped, Segment, Timings, TokenLogprob, Transcript


@pytest.fixture
def transcript() -> Transcript:
    first = " Ask not what your country can do for you, ask what you can do for your country."
    second = " Tom & Jerry say 1 < 2 --> true."
    third = " こんにちは、世界。今日はとてもいい天気ですね。"
    return Transcript(
        text=(first + second + third).strip(),
        segments=(
            Segment(
                id=0,
                start=0.0,
                end=7.2,
                text=first,
                tokens=(50364, 12320, 406, 50724),
                avg_logprob=-0.123456789,
                compression_ratio=1.25,
                no_speech_prob=0.01,
                language="en",
                words=spell(first, 0.0, 7.2),
                logprobs=(TokenLogprob(token=" Ask", bytes=(32, 65, 115, 107), logprob=-0.25),),
            ),
            Segment(id=1, start=7.2, end=9.0004, text=second, temperature=0.2, language="en"),
            Segment(id=2, start=3661.5, end=3665.0, text=third, language="ja"),
        ),
        language="en",
        language_probability=0.98765,
        duration=3670.25,
        dropped=(Dropped(start=9.0, end=3661.5, reason="silence"),),
        warnings=("keywords are ignored",),
        timings=Timings(decode=0.5, inference=20.0, total=25.0, audio=3670.25, windows=130, fallbacks=1, max_batch=8),
    )
