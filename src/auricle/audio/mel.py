"""Samples -> log-mel spectrogram, equal to openai/whisper's ``log_mel_spectrogram``."""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from auricle.mel_scale import MEL_MARGIN, hann_window, mel_filters
from auricle.types import Features, Samples
from auricle.units import HOP_LENGTH, N_FFT, samples_to_frames

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
    signal = with_margins(samples, before=before, after=after, least_frames=n_groups * _GROUP)
    step = signal.itemsize
    shape, strides = (n_groups, _GROUP, N_FFT), (_GROUP * HOP_LENGTH * step, HOP_LENGTH * step, step)
    groups = as_strided(signal, shape, strides, writeable=False)
    filters, hann = mel_filters(n_mels).T, hann_window()
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


def with_margins(
    samples: Samples, *, before: Samples = _NOTHING, after: Samples = _NOTHING, least_frames: int = 1
) -> Samples:
    """``samples`` between what the first and the last frame see beyond them, 200 on either side; float32, a copy.

    See ``log_mel`` for ``before`` and ``after``. Silence follows where ``least_frames`` need more.
    """
    before = before[-MEL_MARGIN:]
    mirrored = MEL_MARGIN - before.size
    signal = np.zeros(MEL_MARGIN + max(samples.size, (least_frames - 1) * HOP_LENGTH) + MEL_MARGIN, np.float32)
    end = MEL_MARGIN + samples.size
    signal[mirrored:MEL_MARGIN] = before
    signal[MEL_MARGIN:end] = samples
    after = after[: signal.size - end]
    signal[end : end + after.size] = after
    # The sample at the file's start is the axis and is not repeated.
    signal[:mirrored] = signal[2 * mirrored : mirrored : -1]
    return signal
