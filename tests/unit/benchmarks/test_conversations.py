"""Made conversations: who speaks when is what the reference says, and the same every time."""

from itertools import pairwise

import numpy as np
import pytest
from benchmarks.conversations import load_voices, make_conversation

NAMES = ["george", "slt", "kal16"]


def test_speech_is_where_the_reference_says() -> None:
    made = make_conversation(NAMES, 20, seed=3, snr_db=40)
    inside = np.zeros(made.samples.size, bool)
    for turn in made.turns:
        inside[round(turn.start * 16_000) : round(turn.end * 16_000)] = True
    level = np.square(made.samples)
    assert level[inside].mean() > 100 * level[~inside].mean()


def test_a_conversation_is_the_same_every_time() -> None:
    first, second = (make_conversation(NAMES, 10, seed=5) for _ in range(2))
    assert first.turns == second.turns
    assert np.array_equal(first.samples, second.samples)


def test_everybody_speaks_and_nobody_follows_himself() -> None:
    made = make_conversation(NAMES, 40, seed=1)
    assert {turn.speaker for turn in made.turns} == set(NAMES)
    speakers = [turn.speaker for turn in made.turns]
    assert all(first != second for first, second in pairwise(speakers))
    assert all(turn.end - turn.start >= 1.5 for turn in made.turns)


@pytest.mark.parametrize("name", list(load_voices()))
def test_samples_of_a_voice_are_no_part_of_conversations(name: str) -> None:
    voice = load_voices()[name]
    assert 5 <= voice.reference.size / 16_000 <= 10
    first = voice.recordings[len(voice.spoken)]
    assert np.array_equal(voice.reference[: first.size], first)
    assert not any(np.array_equal(part[: first.size], first[: part.size]) for part in voice.spoken)


def test_no_voice_is_in_both_sets() -> None:
    held_out = {voice.name for voice in load_voices().values() if voice.held_out}
    assert {"nicolas", "theo"} <= held_out
    assert not {"george", "jackson", "yweweler"} & held_out
