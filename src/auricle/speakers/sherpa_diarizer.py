"""Diarization by sherpa-onnx, with models that the operator has: a segmentation of pyannote's kind and an embedding.

It runs in a process of its own for each file. The library takes audio as a list of numbers, for which it would hold up
all threads of the server for seconds, and it ends its process where a model is not what it expects.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import IO, Any

from auricle.errors import EngineFailed, ModelNotFound
from auricle.speaker_types import Diarization, Turn
from auricle.speakers.base import Diarizer
from auricle.speakers.options import DiarizerOptions, not_installed
from auricle.speakers.recording import Recording, WholeFileDiarizer
from auricle.speakers.sherpa_process import SherpaOrder

_RUNNING = Lock()


def make(options: DiarizerOptions) -> Diarizer:
    """A diarizer for one file. Raises EngineNotInstalled, and ModelNotFound where a model cannot be used."""
    if find_spec("sherpa_onnx") is None:
        raise not_installed("sherpa", "there is no sherpa_onnx")
    segmentation = _find_model("AURICLE_SHERPA_SEGMENTATION_MODEL", options.sherpa_segmentation_model)
    embedding = _find_model("AURICLE_SHERPA_EMBEDDING_MODEL", options.sherpa_embedding_model)
    _try(segmentation, embedding)
    return WholeFileDiarizer(partial(find_turns, segmentation, embedding), options.data_dir)


def find_turns(segmentation: str, embedding: str, recording: Recording, asked: Diarization) -> Sequence[Turn]:
    """Turns of one file; other files wait. Raises EngineFailed."""
    order = SherpaOrder(
        segmentation=segmentation,
        embedding=embedding,
        at_least=asked.num_speakers or asked.min_speakers or 1,
        at_most=asked.num_speakers or asked.max_speakers,
    )
    recording.file.seek(0)
    with _RUNNING:
        return [Turn(**turn) for turn in _run(order, recording.file)]


def _find_model(variable: str, given: str) -> str:
    path = Path(given).expanduser()
    if not given or not path.is_file():
        said = f"{variable} is {given}, and there is no such file" if given else f"{variable} names no file"
        raise ModelNotFound(
            f"AURICLE_DIARIZATION is sherpa, and {said}; it takes a model in ONNX form", param="diarize"
        )
    return str(path)


@cache
def _try(segmentation: str, embedding: str) -> None:
    """Before hours are decoded: whether the models can be loaded. Raises ModelNotFound."""
    try:
        _run(SherpaOrder(segmentation=segmentation, embedding=embedding, at_least=1, at_most=None), subprocess.DEVNULL)
    except EngineFailed as error:
        raise ModelNotFound(
            f"{segmentation} and {embedding} cannot be used to tell speakers apart: {error.message}", param="diarize"
        ) from error


def _run(order: SherpaOrder, audio: IO[bytes] | int) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "auricle.speakers.sherpa_process", json.dumps(asdict(order))]
    done = subprocess.run(command, stdin=audio, capture_output=True, check=False)  # noqa: S603
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise EngineFailed(f"sherpa-onnx ended with {done.returncode}: {said[0][-300:]}")
    return json.loads(done.stdout.splitlines()[-1])
