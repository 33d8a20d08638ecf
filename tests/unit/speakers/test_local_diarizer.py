"""LocalDiarizer: turns of real voices, names, bounds, and what it keeps in memory."""

import tracemalloc
from itertools import islice, pairwise

import numpy as np
import pytest
from benchmarks.conversations import Conversation, find_clips, load_voices, make_conversation

from auricle.errors import InvalidOption
from auricle.speaker_types import Diarization, KnownSpeaker, Turn
from auricle.speakers.known import voice_of
from auricle.speakers.local import LocalDiarizer, make_turns, speaker_labels
from auricle.speakers.registry import make_diarizer
from auricle.types import Clip, Span


@pytest.fixture(scope="module")
def conversation() -> Conversation:
    return make_conversation(["george", "jackson"], 30, seed=1, snr_db=30)


@pytest.fixture(scope="module")
def diarizer(conversation: Conversation) -> LocalDiarizer:
    fed = LocalDiarizer()
    for clip in find_clips([conversation.samples]):
        fed.feed(clip)
    return fed


def speaker_at(turns: list[Turn] | tuple[Turn, ...], time: float) -> str | None:
    return next((turn.speaker for turn in turns if turn.start <= time <= turn.end), None)


def test_two_voices_are_told_apart(diarizer: LocalDiarizer, conversation: Conversation) -> None:
    turns = diarizer.finish(Diarization())
    middles = [(turn.speaker, speaker_at(turns, (turn.start + turn.end) / 2)) for turn in conversation.turns]
    assert len({pair for pair in middles if None not in pair}) == 2, middles


def test_turns_are_in_order_and_do_not_overlap(diarizer: LocalDiarizer) -> None:
    turns = diarizer.finish(Diarization())
    assert all(turn.start < turn.end for turn in turns)
    assert all(first.end <= second.start for first, second in pairwise(turns))


def test_speakers_are_called_by_letters_as_they_appear(diarizer: LocalDiarizer) -> None:
    speakers = list(dict.fromkeys(turn.speaker for turn in diarizer.finish(Diarization())))
    assert speakers == ["A", "B"]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_number_of_speakers_can_be_given(diarizer: LocalDiarizer, number: int) -> None:
    assert len({turn.speaker for turn in diarizer.finish(Diarization(num_speakers=number))}) == number


def test_the_number_of_speakers_can_be_bounded(diarizer: LocalDiarizer) -> None:
    assert len({turn.speaker for turn in diarizer.finish(Diarization(max_speakers=1))}) == 1
    assert len({turn.speaker for turn in diarizer.finish(Diarization(min_speakers=3))}) >= 2


def test_a_known_voice_has_its_name_and_a_stranger_a_letter(
    diarizer: LocalDiarizer, conversation: Conversation
) -> None:
    jackson = KnownSpeaker(name="Jackson", voice=voice_of(load_voices()["jackson"].reference))
    turns = diarizer.finish(Diarization(known=(jackson,)))
    assert {turn.speaker for turn in turns} == {"Jackson", "A"}
    for turn in conversation.turns:
        expected = "Jackson" if turn.speaker == "jackson" else "A"
        assert speaker_at(turns, (turn.start + turn.end) / 2) in {expected, None}


def test_a_known_speaker_who_is_called_a_takes_that_letter_from_nobody(diarizer: LocalDiarizer) -> None:
    jackson = KnownSpeaker(name="A", voice=voice_of(load_voices()["jackson"].reference))
    assert {turn.speaker for turn in diarizer.finish(Diarization(known=(jackson,)))} == {"A", "B"}


def test_a_file_without_speech_has_no_turns() -> None:
    assert LocalDiarizer().finish(Diarization(num_speakers=2)) == []


def test_one_short_word_is_one_turn() -> None:
    word = load_voices()["theo"].spoken[0]
    diarizer = LocalDiarizer()
    span = Span(start=0, end=word.size)
    diarizer.feed(Clip(index=0, pieces=(span,), speech=(span,), samples=word))
    (turn,) = diarizer.finish(Diarization())
    assert (turn.speaker, turn.start) == ("A", 0.0)
    assert turn.end == pytest.approx(word.size / 16_000)


def test_digital_silence_that_is_taken_for_speech_does_no_harm() -> None:
    diarizer = LocalDiarizer()
    span = Span(start=0, end=160_000)
    diarizer.feed(Clip(index=0, pieces=(span,), speech=(span,), samples=np.zeros(160_000, np.float32)))
    assert {turn.speaker for turn in diarizer.finish(Diarization())} == {"A"}


def test_only_vectors_are_kept_of_a_long_file(conversation: Conversation) -> None:
    clips = list(find_clips([conversation.samples]))
    diarizer = LocalDiarizer()
    for clip in clips:
        diarizer.feed(clip)
    tracemalloc.start()
    try:
        for _ in range(8):
            for clip in clips:
                diarizer.feed(clip)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    speech = 8 * sum(span.length for clip in clips for span in clip.speech) / 16_000
    waiting = 32 * 200 * 201 * 4
    assert kept < waiting + 6_000 * speech


def test_a_pause_ends_a_turn_and_a_breath_does_not() -> None:
    spans = [Span(start=0, end=16_000), Span(start=20_000, end=32_000), Span(start=48_000, end=64_000)]
    turns = make_turns(spans, ["A", "A", "A"])
    assert [(turn.start, turn.end) for turn in turns] == [(0.0, 2.0), (3.0, 4.0)]


def test_there_are_labels_for_more_speakers_than_letters() -> None:
    labels = list(islice(speaker_labels(), 60))
    assert labels[0] == "A"
    assert labels[25:27] == ["Z", "A2"]
    assert len(set(labels)) == 60


def test_an_unknown_diarizer_is_refused() -> None:
    with pytest.raises(InvalidOption, match="local"):
        make_diarizer("magic")
