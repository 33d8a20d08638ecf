"""Recording, and the names of speakers that another package found."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from benchmarks.conversations import load_voices

from auricle.speaker_types import Diarization, KnownSpeaker, Turn
from auricle.speakers.known import voice_of
from auricle.speakers.recording import Recording, WholeFileDiarizer, name_turns
from auricle.types import Clip, Samples, Span
from auricle.units import SAMPLE_RATE


def make_clip(samples: Samples, *pieces: tuple[int, int]) -> Clip:
    spans = tuple(Span(start=start, end=end) for start, end in pieces)
    return Clip(index=0, pieces=spans, speech=spans, samples=samples)


def turn(start: float, end: float, speaker: str) -> Turn:
    return Turn(start=start, end=end, speaker=speaker)


def test_clips_are_at_their_places_and_silence_is_between_them(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "new")
    recording.add(make_clip(np.arange(1, 6, dtype=np.float32), (2, 4), (6, 9)))
    recording.add(make_clip(np.array([7], np.float32), (10, 11)))
    assert recording.samples().tolist() == [0, 0, 1, 2, 0, 0, 3, 4, 5, 0, 7]


def test_what_is_written_into_the_samples_does_not_change_the_recording(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.add(make_clip(np.ones(3, np.float32), (0, 3)))
    recording.samples()[:] = 5
    assert recording.samples().tolist() == [1, 1, 1]


def test_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.add(make_clip(np.ones(3, np.float32), (0, 3)))
    assert not [*tmp_path.iterdir()]


def test_a_diarizer_that_is_dropped_closes_its_file(tmp_path: Path) -> None:
    diarizer = WholeFileDiarizer(lambda recording, asked: [], tmp_path)
    file = diarizer._recording.file
    del diarizer
    assert file.closed


def test_a_file_without_speech_has_no_turns() -> None:
    def never(recording: Recording, asked: Diarization) -> Sequence[Turn]:
        raise AssertionError("there is nothing to look at")

    assert WholeFileDiarizer(never).finish(Diarization()) == []


def test_the_whole_file_and_what_is_asked_reach_the_package() -> None:
    seen: list[tuple[int, Diarization]] = []

    def find_turns(recording: Recording, asked: Diarization) -> Sequence[Turn]:
        seen.append((recording.samples().size, asked))
        return [turn(1, 2, "SPEAKER_01"), turn(0, 1, "SPEAKER_00")]

    diarizer = WholeFileDiarizer(find_turns)
    diarizer.feed(make_clip(np.ones(4, np.float32), (0, 4)))
    diarizer.feed(make_clip(np.ones(4, np.float32), (8, 12)))
    assert diarizer.finish(Diarization(num_speakers=2)) == [turn(0, 1, "A"), turn(1, 2, "B")]
    assert seen == [(12, Diarization(num_speakers=2))]


def test_the_file_is_closed_where_the_package_fails() -> None:
    def fail(recording: Recording, asked: Diarization) -> Sequence[Turn]:
        raise RuntimeError("no memory")

    diarizer = WholeFileDiarizer(fail)
    diarizer.feed(make_clip(np.ones(4, np.float32), (0, 4)))
    with pytest.raises(RuntimeError):
        diarizer.finish(Diarization())
    assert diarizer._recording.file.closed


def test_speakers_are_called_by_letters_as_they_appear() -> None:
    turns = name_turns([turn(5, 6, "x"), turn(0, 1, "z"), turn(2, 3, "x")], np.zeros(0, np.float32), ())
    assert [entry.speaker for entry in turns] == ["A", "B", "B"]


def speech_and_sample(name: str) -> tuple[Samples, Samples]:
    """What somebody says, and a sample of the same voice."""
    voice = load_voices()[name]
    return np.concatenate(voice.spoken)[: 8 * SAMPLE_RATE], voice.reference


def test_a_known_voice_gives_its_speaker_its_name_and_a_stranger_gets_a_letter_that_is_free() -> None:
    (george, _), (jackson, sample) = speech_and_sample("george"), speech_and_sample("jackson")
    samples = np.concatenate([george, jackson])
    cut, end = george.size / SAMPLE_RATE, samples.size / SAMPLE_RATE
    known = (KnownSpeaker(name="A", voice=voice_of(sample)),)
    turns = name_turns([turn(0, cut, "1"), turn(cut, end, "2")], samples, known)
    assert [entry.speaker for entry in turns] == ["B", "A"]


def test_a_speaker_who_hardly_speaks_has_no_known_voice() -> None:
    _, sample = speech_and_sample("jackson")
    known = (KnownSpeaker(name="Jack", voice=voice_of(sample)),)
    assert [entry.speaker for entry in name_turns([turn(0, 0.5, "1")], sample, known)] == ["A"]
