"""Samples -> log-mel spectrogram, equal to openai/whisper's ``log_mel_spectrogram``."""

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import as_strided

from auricle.types import Features, Samples
from auricle.units import HOP_LENGTH, N_FFT, SAMPLE_RATE, samples_to_frames

_EDGE = N_FFT // 2
# Frames multiplied at once: so few that OpenBLAS stays in this thread. Where it does not, on a machine whose cores are
# busy, one product can wait for a whole time slice of the scheduler.
_GROUP = 8
# 128 frames transformed at once fit the second-level cache; all 3000 take twice as long.
_GROUPS_AT_ONCE = 16
_LOG10_E = np.float32(1 / np.log(10))

_NOTHING = np.zeros(0, np.float32)


def log_mel(samples: Samples, n_mels: int, *, before: Samples = _NOTHING, after: Samples = _NOTHING) -> Features:
    """Log-mel features, float32 (n_mels, ceil(n / 160)), of ``samples`` (n,).

    ``before`` and ``after`` are up to 200 samples around them, so that the frames at the edges equal those of the
    whole file. Where there are fewer, the beginning is mirrored and the end followed by silence, as in openai/whisper
    (``torch.stft(center=True)`` over audio with 30 s of zeros appended). The dynamic range is cut to 8 decades below
    the loudest value of these samples.
    """
    n_frames = samples_to_frames(samples.size)
    if n_frames == 0:
        return np.zeros((n_mels, 0), np.float32)
    n_groups = -(-n_frames // _GROUP)
    signal = _with_edges(samples, before, after, n_groups * _GROUP)
    step = signal.itemsize
    shape, strides = (n_groups, _GROUP, N_FFT), (_GROUP * HOP_LENGTH * step, HOP_LENGTH * step, step)
    groups = as_strided(signal, shape, strides, writeable=False)
    filters, hann = mel_filters(n_mels).T, _hann()
    mel = np.empty((n_groups, _GROUP, n_mels), np.float32)
    for first in range(0, n_groups, _GROUPS_AT_ONCE):
        part = slice(first, first + _GROUPS_AT_ONCE)
        spectrum = np.fft.rfft(groups[part] * hann)
        power = spectrum.real**2 + spectrum.imag**2
        np.matmul(power, filters, out=mel[part])
    log_spec = np.ascontiguousarray(mel.reshape(-1, n_mels)[:n_frames].T)
    np.maximum(log_spec, 1e-10, out=log_spec)
    np.log(log_spec, out=log_spec)  # unlike log10 it is vectorised
    log_spec *= _LOG10_E
    np.maximum(log_spec, log_spec.max() - 8.0, out=log_spec)
    log_spec += 4.0
    log_spec /= 4.0
    return log_spec


@cache
def mel_filters(n_mels: int) -> Features:
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


_HZ_PER_MEL = 200.0 / 3
_LOG_FROM_HZ = 1000.0
_LOG_FROM_MEL = _LOG_FROM_HZ / _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    return hz / _HZ_PER_MEL if hz < _LOG_FROM_HZ else float(_LOG_FROM_MEL + np.log(hz / _LOG_FROM_HZ) / _LOG_STEP)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < _LOG_FROM_MEL, mel * _HZ_PER_MEL, _LOG_FROM_HZ * np.exp(_LOG_STEP * (mel - _LOG_FROM_MEL)))


@cache
def _hann() -> Samples:
    return np.hanning(N_FFT + 1)[:-1].astype(np.float32)


def _with_edges(samples: Samples, before: Samples, after: Samples, n_frames: int) -> Samples:
    """``samples`` with what the first and last frame see beyond them, float32."""
    before = before[-_EDGE:]
    mirrored = _EDGE - before.size
    signal = np.zeros(_EDGE + max(samples.size, (n_frames - 1) * HOP_LENGTH) + _EDGE, np.float32)
    end = _EDGE + samples.size
    signal[mirrored:_EDGE] = before
    signal[_EDGE:end] = samples
    after = after[: signal.size - end]
    signal[end : end + after.size] = after
    # The sample at the file's start is the axis and is not repeated.
    signal[:mirrored] = signal[2 * mirrored : mirrored : -1]
    return signal
