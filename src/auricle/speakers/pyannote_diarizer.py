"""Diarization by pyannote.audio: better than the embedded one where several speak at once, and slow without a GPU.

The pipeline is loaded once for the process and works on one file at a time.
"""

import os
from collections.abc import Sequence
from functools import cache, partial
from pickle import UnpicklingError
from threading import Lock
from typing import Any, cast

import torch

# It reports to its makers how long the files are, unless this is set; what an operator has set stays.
os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "0")
from pyannote.audio import Pipeline  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

from auricle.errors import EngineOutOfMemory, ModelNotFound
from auricle.speaker_types import Diarization, Turn
from auricle.speakers.base import Diarizer
from auricle.speakers.options import DiarizerOptions
from auricle.speakers.pyannote_model import find_model, first_line
from auricle.speakers.recording import Recording, WholeFileDiarizer
from auricle.units import SAMPLE_RATE

_LOADING = Lock()
_RUNNING = Lock()


def make(options: DiarizerOptions) -> Diarizer:
    """A diarizer for one file. Raises ModelNotFound where the model cannot be had; the next call looks again."""
    with _LOADING:
        pipeline = _load(options)
    return WholeFileDiarizer(partial(find_turns, pipeline), options.data_dir)


def find_turns(pipeline: Any, recording: Recording, asked: Diarization) -> Sequence[Turn]:
    """Turns that do not overlap, by which words are given out; other files wait. Raises EngineOutOfMemory."""
    waveform = cast("Any", torch).from_numpy(recording.samples())[None]
    with _RUNNING:
        try:
            output = _run(pipeline, {"waveform": waveform, "sample_rate": SAMPLE_RATE}, asked)
        except torch.OutOfMemoryError as error:
            raise EngineOutOfMemory(
                f"the device has too little memory to tell speakers apart: {first_line(error)}"
            ) from error
    tracks = output.exclusive_speaker_diarization.itertracks(yield_label=True)
    return [Turn(start=segment.start, end=segment.end, speaker=str(speaker)) for segment, _, speaker in tracks]


def _run(pipeline: Any, audio: dict[str, Any], asked: Diarization) -> Any:
    try:
        return pipeline(
            audio,
            num_speakers=asked.num_speakers,
            min_speakers=asked.min_speakers,
            max_speakers=asked.max_speakers,
        )
    except ValueError:
        # Its clustering cannot make more speakers than there are excerpts, of a short file.
        at_least = asked.num_speakers or asked.min_speakers or 1
        if at_least == 1:
            raise
        return pipeline(audio, max_speakers=asked.num_speakers or asked.max_speakers)


@cache
def _load(options: DiarizerOptions) -> Any:
    folder = find_model(options)
    try:
        # From the folder, not from the hub: each of its parts would be looked for there anew.
        pipeline = cast("Any", Pipeline).from_pretrained(folder)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, UnpicklingError) as error:
        raise ModelNotFound(
            f"pyannote.audio cannot load the pipeline in {folder} ({first_line(error)}); without the folder it is "
            "downloaded anew",
            param="diarize",
        ) from error
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return pipeline.to(torch.device(device))
