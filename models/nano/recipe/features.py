"""Whisper's log-mel features of many windows at once."""

from pathlib import Path

import numpy as np
import torch
import whisper

SAMPLE_RATE = 16000
N_FFT = 400
HOP = 160
POSITION = 320  # samples of one encoder position, 20 ms
N_POSITIONS = 1500
N_MELS = 80
WINDOW_SAMPLES = N_POSITIONS * POSITION

_FILTERS = torch.from_numpy(np.load(Path(whisper.__file__).parent / "assets" / "mel_filters.npz")["mel_80"])
_HANN = torch.hann_window(N_FFT)


def raw_log_mel(samples: torch.Tensor) -> torch.Tensor:
    """Return log10 mel energies (…, 80, samples / 160) of samples (…, n)."""
    power = torch.stft(samples, N_FFT, HOP, window=_HANN, return_complex=True)[..., :-1].abs() ** 2
    return torch.clamp(_FILTERS @ power, min=1e-10).log10()


def normalize(log_mel: torch.Tensor) -> torch.Tensor:
    """Cut each window 8 below its maximum and scale it as Whisper does."""
    log_mel = torch.maximum(log_mel, log_mel.amax((-2, -1), keepdim=True) - 8.0)
    return (log_mel + 4) / 4


def window_features(samples: np.ndarray) -> np.ndarray:
    """Return the features (80, 3000) of up to 30 s of samples."""
    samples = samples[:WINDOW_SAMPLES]
    padded = np.pad(samples, (0, WINDOW_SAMPLES - len(samples))).astype(np.float32)
    return normalize(raw_log_mel(torch.from_numpy(padded))).numpy()
