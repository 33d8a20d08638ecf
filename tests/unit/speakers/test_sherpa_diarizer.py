"""sherpa-onnx itself, with small stand-ins for its models: somebody speaks where it is loud."""

from pathlib import Path

import numpy as np
import pytest

from auricle.errors import EngineFailed, EngineNotInstalled, ModelNotFound
from auricle.speaker_types import Diarization, Turn
from auricle.speakers import sherpa_diarizer
from auricle.speakers.options import DiarizerOptions
from auricle.speakers.recording import Recording
from auricle.speakers.registry import make_diarizer
from auricle.types import Clip, Span
from auricle.units import SAMPLE_RATE

DATA = Path(__file__).parent / "data"
SEGMENTATION = str(DATA / "stand_in_segmentation.onnx")
EMBEDDING = str(DATA / "stand_in_embedding.onnx")
GE2E = str(Path(__file__).parents[3] / "src" / "auricle" / "models" / "speakers" / "ge2e.onnx")
STAND_INS = DiarizerOptions(sherpa_segmentation_model=SEGMENTATION, sherpa_embedding_model=EMBEDDING)


def make_clip(start: int, hertz: int) -> Clip:
    """Three seconds of a tone."""
    seconds = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    noise = 0.001 * np.random.default_rng(0).standard_normal(seconds.size)
    samples = (0.2 * np.sign(np.sin(2 * np.pi * hertz * seconds)) + noise).astype(np.float32)
    span = Span(start=start * SAMPLE_RATE, end=start * SAMPLE_RATE + samples.size)
    return Clip(index=0, pieces=(span,), speech=(span,), samples=samples)


def diarize(asked: Diarization) -> list[Turn]:
    diarizer = make_diarizer("sherpa", STAND_INS)
    for start, hertz in ((0, 110), (8, 110), (18, 5000)):
        diarizer.feed(make_clip(start, hertz))
    return diarizer.finish(asked)


def test_a_missing_package_is_told_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sherpa_diarizer, "find_spec", lambda name: None)
    with pytest.raises(EngineNotInstalled, match=r"pip install 'auricle\[sherpa\]'"):
        make_diarizer("sherpa", STAND_INS)


@pytest.mark.parametrize("given", ["", "nowhere.onnx"])
def test_a_missing_model_is_told_with_its_setting(given: str) -> None:
    pytest.importorskip("sherpa_onnx")
    options = DiarizerOptions(sherpa_segmentation_model=SEGMENTATION, sherpa_embedding_model=given)
    with pytest.raises(ModelNotFound, match=f"AURICLE_SHERPA_EMBEDDING_MODEL .*{given}"):
        make_diarizer("sherpa", options)


@pytest.mark.parametrize("given", [__file__, GE2E])
def test_a_file_that_is_no_model_for_it_does_not_end_the_server(given: str) -> None:
    pytest.importorskip("sherpa_onnx")
    options = DiarizerOptions(sherpa_segmentation_model=given, sherpa_embedding_model=EMBEDDING)
    with pytest.raises(ModelNotFound, match="cannot be used to tell speakers apart"):
        make_diarizer("sherpa", options)


def test_turns_are_where_it_is_loud() -> None:
    pytest.importorskip("sherpa_onnx")
    turns = diarize(Diarization())
    assert np.array([(turn.start, turn.end) for turn in turns]) == pytest.approx(
        np.array([(0, 3), (8, 11), (18, 21)]), abs=0.05
    )


def test_the_number_of_speakers_can_be_given() -> None:
    pytest.importorskip("sherpa_onnx")
    assert [turn.speaker for turn in diarize(Diarization(num_speakers=2))] == ["A", "A", "B"]


def test_bounds_of_the_number_of_speakers_are_kept() -> None:
    pytest.importorskip("sherpa_onnx")
    assert {turn.speaker for turn in diarize(Diarization(min_speakers=2))} == {"A", "B"}
    assert {turn.speaker for turn in diarize(Diarization(max_speakers=1))} == {"A"}


def test_more_speakers_than_there_can_be_are_not_an_error() -> None:
    pytest.importorskip("sherpa_onnx")
    assert diarize(Diarization(num_speakers=32))


def test_what_the_package_says_before_it_dies_is_told(tmp_path: Path) -> None:
    pytest.importorskip("sherpa_onnx")
    recording = Recording(tmp_path)
    recording.add(make_clip(0, 110))
    with pytest.raises(EngineFailed, match="ended with 1: "):
        sherpa_diarizer.find_turns(__file__, EMBEDDING, recording, Diarization())
