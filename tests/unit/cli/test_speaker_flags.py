import base64
from pathlib import Path

import pytest

from auricle.cli.speakers import parse_diarization, parse_known, speaker_fields, with_voices
from auricle.config import Settings
from auricle.errors import InvalidOption, UnsupportedOption
from auricle.speaker_types import Diarization
from auricle.types import TranscribeOptions
from conversation import WOMAN
from samples import load_sample

COUNTS = {"speakers": None, "min_speakers": None, "max_speakers": None}


def test_known_speakers_are_names_and_files() -> None:
    assert parse_known([]) == {}
    known = parse_known(["Ann Lee=a.wav", "Bob=b=c.wav"])
    assert known == {"Ann Lee": Path("a.wav"), "Bob": Path("b=c.wav")}


@pytest.mark.parametrize(
    "values", [["Ann"], ["Ann="], ["=a.wav"], ["a\nb=a.wav"], ["Ann=a", "Ann=b"], [f"n{n}=a" for n in range(5)]]
)
def test_what_is_no_known_speaker_is_refused(values: list[str]) -> None:
    with pytest.raises(InvalidOption, match="--known"):
        parse_known(values)


def test_speakers_are_refused_here_where_they_are_off_but_not_for_a_server() -> None:
    off = Settings(diarization="off")
    with pytest.raises(UnsupportedOption, match="AURICLE_DIARIZATION"):
        parse_diarization(off, server=None, **COUNTS)
    assert parse_diarization(off, server="http://127.0.0.1:8000", **COUNTS) == Diarization()
    with pytest.raises(InvalidOption):
        parse_diarization(Settings(), server=None, **(COUNTS | {"speakers": 0}))


def test_a_server_is_asked_the_same(tmp_path: Path) -> None:
    sample = tmp_path / "a.wav"
    sample.write_bytes(b"sound")
    assert speaker_fields(None, {}) == {}
    fields = speaker_fields(Diarization(max_speakers=3), {"Ann": sample})
    assert (fields["diarize"], fields["max_speakers"], fields["num_speakers"]) == ("true", "3", None)
    assert fields["known_speaker_names[]"] == ["Ann"]
    assert fields["known_speaker_references[]"] == ["data:;base64," + base64.b64encode(b"sound").decode()]
    with pytest.raises(InvalidOption, match="--known"):
        speaker_fields(Diarization(), {"Ann": tmp_path / "none.wav"})


def test_voices_are_read_from_the_files(tmp_path: Path) -> None:
    options = TranscribeOptions(diarization=Diarization(num_speakers=2))
    found = with_voices(options, {"Ann": load_sample(WOMAN).path}).diarization
    assert found is not None
    assert (found.num_speakers, [speaker.name for speaker in found.known]) == (2, ["Ann"])
    assert with_voices(options, {}) == options
    with pytest.raises(InvalidOption, match="--known Ann="):
        with_voices(options, {"Ann": tmp_path / "none.wav"})
