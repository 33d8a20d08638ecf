from pathlib import Path

import numpy as np
import pytest

from auricle.errors import InvalidOption
from auricle.pipeline.voices import check_name, know_speaker
from conversation import MAN, WOMAN, voice
from samples import load_sample, write_wav

WHERE = {"where": "known_speaker_references[1]", "param": "known_speaker_references"}


def test_a_known_speaker_has_a_voice_of_unit_length() -> None:
    speaker = know_speaker("Ann", load_sample(WOMAN).path.read_bytes(), **WHERE)
    assert speaker.name == "Ann"
    assert np.linalg.norm(speaker.voice) == pytest.approx(1.0, abs=1e-4)
    assert speaker == know_speaker("Ann", load_sample(WOMAN).path, **WHERE)
    assert hash(speaker) != hash(know_speaker("Ann", load_sample(MAN).path, **WHERE))


def refusal(reference: Path | bytes) -> str:
    with pytest.raises(InvalidOption) as caught:
        know_speaker("Ann", reference, **WHERE)
    assert caught.value.param == "known_speaker_references"
    assert caught.value.message.startswith("known_speaker_references[1]: ")
    return caught.value.message


def test_a_sample_of_an_hour_is_not_read_to_its_end(tmp_path: Path) -> None:
    second = voice(WOMAN)[:16_000]
    assert "longer than 10 s" in refusal(write_wav(tmp_path / "hour.wav", np.tile(second, 3600)))


def test_ten_seconds_are_taken_with_what_an_encoder_adds(tmp_path: Path) -> None:
    sound = np.tile(voice(WOMAN), 4)
    know_speaker("Ann", write_wav(tmp_path / "a.wav", sound[: 10 * 16_000 + 800]), **WHERE)
    assert "longer than 10 s" in refusal(write_wav(tmp_path / "b.wav", sound[: 11 * 16_000]))


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros(16_000 * 5), np.zeros(100)])
def test_a_sample_without_a_voice_is_refused(tmp_path: Path, samples: np.ndarray) -> None:
    refusal(write_wav(tmp_path / "a.wav", samples.astype(np.float32)))


def test_too_short_a_sample_is_refused(tmp_path: Path) -> None:
    assert "2 to 10 s" in refusal(write_wav(tmp_path / "a.wav", voice(WOMAN)[:8000]))


@pytest.mark.parametrize("content", [b"", b"no audio", b"RIFF" + bytes(100), b"\xff\xfb" * 50])
def test_what_is_no_audio_is_a_wrong_option(content: bytes) -> None:
    refusal(content)


def test_a_file_that_is_not_there_is_a_wrong_option(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.wav")


@pytest.mark.parametrize("name", ["Ann", " Ann Lee ", "Zoë", "محمد‌رضا", "李", "agent_1", "👩‍💻"])
def test_names_of_all_languages_are_taken(name: str) -> None:
    assert check_name(name) == name.strip()


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x00", "a\x1b[31m", "a\u202eb", "a\ud800", "x" * 65, "a\u2028b"])
def test_names_that_cannot_be_shown_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a name"):
        check_name(name)
