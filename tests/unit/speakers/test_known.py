"""Known voices: made of a sample, given to the speakers who have them."""

import numpy as np
import pytest
from benchmarks.conversations import load_voices

from auricle.errors import InvalidOption
from auricle.speaker_types import KnownSpeaker
from auricle.speakers.known import SAME_VOICE, name_speakers, voice_of


def known(name: str, voice: list[float]) -> KnownSpeaker:
    return KnownSpeaker(name=name, voice=tuple(float(x) for x in np.array(voice) / np.linalg.norm(voice)))


def unit(*rows: list[float]) -> np.ndarray:
    array = np.array(rows, np.float32)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def test_a_voice_is_a_vector_of_unit_length() -> None:
    voice = voice_of(load_voices()["theo"].reference)
    assert len(voice) == 256
    assert np.linalg.norm(voice) == pytest.approx(1, abs=1e-5)


def test_two_samples_of_a_person_are_more_alike_than_those_of_two() -> None:
    voices = load_voices()
    people = [voice for voice in voices.values() if voice.kind == "human"]
    references = np.array([voice_of(person.reference) for person in people])
    others = np.array([voice_of(np.concatenate(person.spoken[:12])) for person in people])
    assert (references @ others.T).argmax(axis=1).tolist() == list(range(len(people)))


def test_pauses_and_loudness_do_not_change_a_voice() -> None:
    sample = load_voices()["george"].reference
    pause = np.random.default_rng(0).normal(0, 1e-5, 16_000).astype(np.float32)
    voice = np.array(voice_of(sample))
    assert voice @ voice_of(np.concatenate([pause, sample * 0.2, pause])) > 0.98


@pytest.mark.parametrize("samples", [0, 5_000, 15_000])
def test_too_short_a_sample_is_refused(samples: int) -> None:
    with pytest.raises(InvalidOption, match="2 to 10 s") as error:
        voice_of(load_voices()["george"].reference[:samples], param="known_speaker_references[0]")
    assert error.value.param == "known_speaker_references[0]"


def test_silence_is_no_voice() -> None:
    with pytest.raises(InvalidOption, match=r"holds 0\.0 s"):
        voice_of(np.zeros(80_000, np.float32))


def test_a_sample_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(InvalidOption):
        voice_of(np.full(80_000, np.nan, np.float32))


def test_speakers_get_the_names_of_their_voices() -> None:
    names = name_speakers(unit([0, 1, 0], [1, 0, 0]), (known("Ann", [1, 0.1, 0]), known("Bob", [0.1, 1, 0])))
    assert names == ["Bob", "Ann"]


def test_a_stranger_gets_no_name() -> None:
    below = np.cos(np.arccos(SAME_VOICE) + 0.05)
    stranger = unit([below, np.sqrt(1 - below**2)])
    assert name_speakers(stranger, (known("Ann", [1, 0]),)) == [None]


def test_a_name_goes_to_the_voice_that_is_most_like_it_and_to_no_other() -> None:
    names = name_speakers(unit([1, 0.2, 0], [1, 0.05, 0]), (known("Ann", [1, 0, 0]),))
    assert names == [None, "Ann"]


def test_a_speaker_has_one_name() -> None:
    names = name_speakers(unit([1, 0, 0]), (known("Ann", [1, 0.2, 0]), known("Bob", [1, 0.05, 0])))
    assert names == ["Bob"]


def test_without_known_voices_all_are_strangers() -> None:
    assert name_speakers(unit([1, 0], [0, 1]), ()) == [None, None]
