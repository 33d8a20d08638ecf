"""The network of Silero VAD 6 (MIT licence): how much a frame of 32 ms sounds like speech.

It comes in two parts, see ``models/silero_vad/README.md``: the encoder, which has no state and takes nearly all of the
time, and the recurrent rest.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

# ONNX Runtime's builds collect events for their maker unless this is set before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime  # pyright: ignore[reportMissingTypeStubs]

from auricle.types import Samples

FRAME_SAMPLES = 512
CONTEXT_SAMPLES = 64
"""Samples of the frame before that each frame is given with."""

# Frames of one call of the encoder, 4 s: its activations stay in the cache.
_FRAMES_AT_ONCE = 128
_MAX_THREADS = 8


class Silero:
    """The network with the state of one file; weights and threads are shared. For one thread at a time."""

    def __init__(self) -> None:
        self._hidden = np.zeros((1, 1, 128), np.float32)
        self._cell = np.zeros((1, 1, 128), np.float32)

    def __call__(self, frames: Samples) -> NDArray[np.float32]:
        """Probabilities (n,) of frames (n, 576) that follow those of the call before.

        How the frames are spread over calls makes no difference; many at once run in parallel.
        """
        parts = [frames[first : first + _FRAMES_AT_ONCE] for first in range(0, len(frames), _FRAMES_AT_ONCE)]
        features = list(_threads().map(_encode, parts)) if len(parts) > 1 else [_encode(part) for part in parts]
        inputs = {"features": np.concatenate(features), "h": self._hidden, "c": self._cell}
        names = ["speech_probs", "hn", "cn"]
        probabilities, self._hidden, self._cell = _session("silero_vad_recurrent.onnx").run(names, inputs)
        return cast("NDArray[np.float32]", probabilities)


def _encode(frames: Samples) -> NDArray[np.float32]:
    return _session("silero_vad_encoder.onnx").run(["features"], {"input": frames})[0]


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(os.cpu_count() or 1, _MAX_THREADS), thread_name_prefix="vad")


@cache
def _session(name: str) -> Any:
    ort = cast("Any", onnxruntime)  # it has no types
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    model = files("auricle").joinpath("models", name).read_bytes()
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
