"""The network that makes a vector of a voice: GE2E (Wan and others, 2018) with the weights of Resemblyzer (Apache-2.0).

Three recurrent layers read the mel spectrum of some speech, frame after frame; their state at any frame is a vector of
the voice up to there, best after 1.6 s. See ``models/speakers/README.md``.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

# ONNX Runtime's builds collect events for their maker unless this is set before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime  # pyright: ignore[reportMissingTypeStubs]

from auricle.speakers.base import Voices
from auricle.types import Samples
from auricle.units import N_FFT

EXCERPT_FRAMES = 160
"""1.6 s: what the network was trained to read at once."""
EXCERPTS_AT_ONCE = 32
"""Of one run of the network: more are not faster, and fewer are slower."""

Power = NDArray[np.float32]
"""float32 (n_frames, 201): power spectrum of each frame of 25 ms."""

# Frames transformed at once: they stay in the second-level cache.
_FRAMES_AT_ONCE = 128
# The level that quieter speech is raised to, -30 dBFS, as in the network's training.
_LEVEL = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Excerpt:
    """Speech of about 1.6 s, and after how many of its frames the network is asked for the voice."""

    power: Power
    reads: tuple[int, ...]


def power_spectra(samples: Samples, centres: NDArray[np.int64]) -> Power:
    """Spectra of the frames around these samples; as by librosa's ``stft(n_fft=400, center=True)``."""
    edge = np.zeros(N_FFT // 2, np.float32)
    windows = sliding_window_view(np.concatenate([edge, samples, edge]), N_FFT)
    power = np.empty((centres.size, N_FFT // 2 + 1), np.float32)
    hann = _hann()
    for first in range(0, centres.size, _FRAMES_AT_ONCE):
        part = slice(first, first + _FRAMES_AT_ONCE)
        spectrum = np.fft.rfft(windows[centres[part]] * hann)
        power[part] = spectrum.real**2 + spectrum.imag**2
    return power


def embed(excerpts: Sequence[Excerpt]) -> Voices:
    """One row for each read of each excerpt, in order."""
    if not excerpts:
        return np.zeros((0, 256), np.float32)
    # Those of one length together, since the shorter ones of a run are filled up.
    order = sorted(range(len(excerpts)), key=lambda index: len(excerpts[index].power))
    voices: dict[int, Voices] = {}
    for first in range(0, len(order), EXCERPTS_AT_ONCE):
        part = order[first : first + EXCERPTS_AT_ONCE]
        rows = _run([excerpts[index] for index in part])
        cuts = np.cumsum([len(excerpts[index].reads) for index in part])[:-1]
        voices.update(zip(part, np.split(rows, cuts), strict=True))
    return np.concatenate([voices[index] for index in range(len(excerpts))])


def mean_voice(voices: Voices, weights: NDArray[np.float64] | None = None) -> Voices:
    """Their mean (dim,), of unit length."""
    mean = np.average(voices, axis=0, weights=weights)
    return (mean / max(float(np.linalg.norm(mean)), 1e-6)).astype(np.float32)


def _run(excerpts: Sequence[Excerpt]) -> Voices:
    """The network over excerpts side by side. What a shorter one is filled up with comes after all of its reads."""
    sizes = np.array([len(excerpt.power) for excerpt in excerpts])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    steps = np.arange(int(sizes.max()))[:, None]
    power = np.concatenate([excerpt.power for excerpt in excerpts])
    inputs = {
        "power": power,
        "frames": starts + np.minimum(steps, sizes - 1),
        "gain": np.array([[_gain(excerpt.power)] for excerpt in excerpts], np.float32),
        "reads": np.array([(read - 1, row) for row, excerpt in enumerate(excerpts) for read in excerpt.reads]),
    }
    return cast("Voices", _session().run(["voices"], inputs)[0])


def _gain(power: Power) -> float:
    """What brings the excerpt to the level of the training; louder speech is left as it is."""
    # Both halves of the spectrum, over its length and the power of the window: Parseval.
    mean_square = 2 * float(power.mean(axis=0, dtype=np.float64).sum()) / (N_FFT * float(np.square(_hann()).sum()))
    return max(1.0, _LEVEL / max(mean_square, 1e-12))


@cache
def _hann() -> Samples:
    return np.hanning(N_FFT + 1)[:-1].astype(np.float32)


@cache
def _session() -> Any:
    ort = cast("Any", onnxruntime)  # it has no types
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    model = files("auricle").joinpath("models", "speakers", "ge2e.onnx").read_bytes()
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
