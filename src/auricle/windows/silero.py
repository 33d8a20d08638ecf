"""The network of Silero VAD 6 (ONNX, MIT licence): how much a frame of 32 ms sounds like speech."""

from functools import cache
from importlib.resources import files
from typing import Any, cast

import numpy as np
import onnxruntime  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray

from auricle.types import Samples

FRAME_SAMPLES = 512
CONTEXT_SAMPLES = 64
"""Samples of the frame before that each frame is given with."""

# Frames of one call, 16 s: bounds the memory of its activations.
_FRAMES_AT_ONCE = 512


class Silero:
    """The network with the state of one file; the weights are shared."""

    def __init__(self) -> None:
        self._hidden = np.zeros((1, 1, 128), np.float32)
        self._cell = np.zeros((1, 1, 128), np.float32)

    def __call__(self, frames: Samples) -> NDArray[np.float32]:
        """Probabilities (n,) of frames (n, 576) that follow those of the call before."""
        found: list[NDArray[np.float32]] = []
        for first in range(0, len(frames), _FRAMES_AT_ONCE):
            inputs = {"input": frames[first : first + _FRAMES_AT_ONCE], "h": self._hidden, "c": self._cell}
            probabilities, self._hidden, self._cell = _run(inputs)
            found.append(probabilities)
        return np.concatenate(found)


def _run(inputs: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    return _session().run(["speech_probs", "hn", "cn"], inputs)


@cache
def _session() -> Any:
    ort = cast("Any", onnxruntime)  # it has no types
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    model = files("auricle").joinpath("models", "silero_vad.onnx").read_bytes()
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
