"""What a log-mel spectrogram is made with, wherever it is computed: the filters and the window of openai/whisper."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from auricle.units import N_FFT, SAMPLE_RATE

Floats = NDArray[np.float32]

MEL_MARGIN = N_FFT // 2
"""Samples on either side of a window that its first and last frame see."""

_HZ_PER_MEL = 200.0 / 3
_LOG_FROM_HZ = 1000.0
_LOG_FROM_MEL = _LOG_FROM_HZ / _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


@cache
def mel_filters(n_mels: int) -> Floats:
    """Triangular filters on Slaney's mel scale, each of unit area; float32 (n_mels, 201), 0 to 8000 Hz.

    Slaney, Auditory Toolbox (1998): linear up to 1 kHz (200/3 Hz a mel), above it 27 mels for a factor of 6.4.
    """
    top = _hz_to_mel(SAMPLE_RATE / 2)
    corners = _mel_to_hz(np.linspace(0.0, top, n_mels + 2))
    bins = np.linspace(0.0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    low, centre, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising = (bins - low) / (centre - low)
    falling = (high - bins) / (high - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * (2.0 / (high - low))).astype(np.float32)


@cache
def hann_window() -> Floats:
    """The periodic Hann window, float32 (400,)."""
    return np.hanning(N_FFT + 1)[:-1].astype(np.float32)


def _hz_to_mel(hz: float) -> float:
    return hz / _HZ_PER_MEL if hz < _LOG_FROM_HZ else float(_LOG_FROM_MEL + np.log(hz / _LOG_FROM_HZ) / _LOG_STEP)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < _LOG_FROM_MEL, mel * _HZ_PER_MEL, _LOG_FROM_HZ * np.exp(_LOG_STEP * (mel - _LOG_FROM_MEL)))
