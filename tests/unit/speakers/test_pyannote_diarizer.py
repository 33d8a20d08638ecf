"""pyannote.audio's own types; in place of its pipeline, whose weights are gated, one that answers what it is told."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from auricle.errors import EngineNotInstalled, ModelNotFound
from auricle.speaker_types import Diarization, Turn
from auricle.speakers.options import DiarizerOptions
from auricle.speakers.recording import Recording
from auricle.speakers.registry import make_diarizer
from auricle.types import Clip, Span
from auricle.units import SAMPLE_RATE


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    made = Recording(tmp_path)
    span = Span(start=SAMPLE_RATE, end=3 * SAMPLE_RATE)
    made.add(Clip(index=0, pieces=(span,), speech=(span,), samples=np.ones(span.length, np.float32)))
    return made


class Pipeline:
    """Notes what it is called with; cannot make more than two speakers."""

    def __init__(self) -> None:
        self.calls: list[dict[str, int | None]] = []
        self.audio: dict[str, Any] = {}

    def __call__(self, audio: dict[str, Any], **counts: int | None) -> object:
        from pyannote.core import Annotation, Segment

        self.audio = audio
        self.calls.append(counts)
        if (counts.get("num_speakers") or counts.get("min_speakers") or 1) > 2:
            raise ValueError("n_samples=2 should be >= n_clusters=3.")
        exclusive = Annotation()
        exclusive[Segment(2.0, 3.0)] = "SPEAKER_01"
        exclusive[Segment(1.0, 2.0)] = "SPEAKER_00"
        overlapping = exclusive.copy()
        overlapping[Segment(1.5, 2.5)] = "SPEAKER_02"
        return SimpleNamespace(speaker_diarization=overlapping, exclusive_speaker_diarization=exclusive)


def test_a_missing_package_is_told_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "auricle.speakers.pyannote_diarizer", raising=False)
    monkeypatch.setitem(sys.modules, "pyannote.audio", None)
    with pytest.raises(EngineNotInstalled, match=r"pip install 'auricle\[pyannote\]'"):
        make_diarizer("pyannote")


def test_the_turns_are_those_that_do_not_overlap(recording: Recording) -> None:
    pytest.importorskip("pyannote.audio")
    from auricle.speakers.pyannote_diarizer import find_turns

    pipeline = Pipeline()
    turns = find_turns(pipeline, recording, Diarization(min_speakers=1, max_speakers=2))
    assert turns == [Turn(start=1, end=2, speaker="SPEAKER_00"), Turn(start=2, end=3, speaker="SPEAKER_01")]
    assert pipeline.calls == [{"num_speakers": None, "min_speakers": 1, "max_speakers": 2}]
    assert pipeline.audio["waveform"].shape == (1, 3 * SAMPLE_RATE)
    assert pipeline.audio["sample_rate"] == SAMPLE_RATE


def test_more_speakers_than_there_can_be_are_not_an_error(recording: Recording) -> None:
    pytest.importorskip("pyannote.audio")
    from auricle.speakers.pyannote_diarizer import find_turns

    pipeline = Pipeline()
    assert len(find_turns(pipeline, recording, Diarization(num_speakers=3))) == 2
    assert pipeline.calls[-1] == {"max_speakers": 3}


@pytest.mark.parametrize("config", ["pipeline: {}", "pipeline: {name: pyannote.audio.pipelines.Nothing}", "[]"])
def test_a_folder_that_holds_no_pipeline_is_told(config: str, tmp_path: Path) -> None:
    pytest.importorskip("pyannote.audio")
    (tmp_path / "config.yaml").write_text(config)
    with pytest.raises(ModelNotFound, match="cannot load the pipeline"):
        make_diarizer("pyannote", DiarizerOptions(pyannote_model=str(tmp_path)))


def test_the_package_does_not_report_to_its_makers() -> None:
    pytest.importorskip("pyannote.audio")
    code = (
        "import auricle.speakers.pyannote_diarizer; from pyannote.audio.telemetry.metrics import is_metrics_enabled; "
        "assert not is_metrics_enabled()"
    )
    env = {name: value for name, value in os.environ.items() if name != "PYANNOTE_METRICS_ENABLED"}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True)
