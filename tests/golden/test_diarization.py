"""Who spoke when in made conversations of held-out voices, scored by pyannote.metrics."""

import pytest
from benchmarks.conversations import Conversation, find_clips, make_conversation
from benchmarks.diarization import error_rate

from auricle.speaker_types import Diarization
from auricle.speakers.local import LocalDiarizer

CASES = [
    (["nicolas", "theo"], 30.0),
    (["theo", "awb", "kal16"], 20.0),
    (["nicolas", "theo", "ked", "f4"], 20.0),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "+".join(case[0]))
def heard(request: pytest.FixtureRequest) -> tuple[Conversation, LocalDiarizer]:
    names, snr_db = request.param
    conversation = make_conversation(names, 50, seed=77, snr_db=snr_db)
    diarizer = LocalDiarizer()
    for clip in find_clips([conversation.samples]):
        diarizer.feed(clip)
    return conversation, diarizer


def test_with_the_number_of_speakers_given(heard: tuple[Conversation, LocalDiarizer]) -> None:
    conversation, diarizer = heard
    turns = diarizer.finish(Diarization(num_speakers=len(conversation.speakers)))
    assert error_rate(conversation.turns, turns) < 0.10


def test_without_it(heard: tuple[Conversation, LocalDiarizer]) -> None:
    conversation, diarizer = heard
    turns = diarizer.finish(Diarization())
    assert len({turn.speaker for turn in turns}) == len(conversation.speakers)
    assert error_rate(conversation.turns, turns) < 0.15
