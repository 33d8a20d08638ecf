from typing import Any

import pytest

from auricle.speaker_types import Turn

pytest.importorskip("pyannote.metrics")

TURNS = [Turn(start=0.0, end=4.0, speaker="ann"), Turn(start=3.0, end=8.0, speaker="bob")]


def word(start: float, speaker: str) -> dict[str, Any]:
    return {"start": start, "end": start + 0.4, "speaker": speaker}


def test_words_of_a_wrong_speaker_are_counted_whatever_the_speakers_are_called():
    from benchmarks.speaker_words import count_wrong

    words = [word(0.0, "B"), word(1.0, "B"), word(2.0, "A"), word(5.0, "A"), word(6.0, "A"), word(7.0, "A")]
    assert count_wrong(words, TURNS) == (1, 6)


def test_words_where_two_speak_or_nobody_does_cannot_be_judged():
    from benchmarks.speaker_words import count_wrong

    assert count_wrong([word(1.0, "A"), word(3.3, "A"), word(9.0, "A")], TURNS) == (0, 1)


def test_a_speaker_too_many_has_no_right_words():
    from benchmarks.speaker_words import count_wrong

    words = [word(0.0, "A"), word(1.0, "A"), word(2.0, "C"), word(5.0, "B")]
    assert count_wrong(words, TURNS) == (1, 4)
