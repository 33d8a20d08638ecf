"""Log-mel features on the device, from the samples of several windows at once; equal to ``audio.mel.log_mel``."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyTorch's functions carry incomplete types.

from collections.abc import Sequence

import torch
from torch import Tensor

from auricle.mel_scale import MEL_MARGIN, hann_window, mel_filters
from auricle.types import Samples
from auricle.units import HOP_LENGTH, N_FFT, samples_to_frames


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` of the main memory on ``device``; to CUDA it travels while the host goes on."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class MelBank:
    """Computes the features of a model with ``n_mels`` on ``device``, in float32."""

    def __init__(self, n_mels: int, device: torch.device) -> None:
        self._device = device
        self._filters = torch.from_numpy(mel_filters(n_mels).T.copy()).to(device)
        self._hann = torch.from_numpy(hann_window().copy()).to(device)

    def features(self, windows: Sequence[Samples], n_frames: int) -> Tensor:
        """(n, n_mels, n_frames): each window's own frames, and zeros after them.

        A window is its samples with 200 more on either side (``audio.mel.with_margins``); frames that it has beyond
        ``n_frames`` are cut off.
        """
        frames = [samples_to_frames(window.size - 2 * MEL_MARGIN) for window in windows]
        longest = max(1, *frames)
        counts = torch.tensor(frames)
        signals = torch.zeros(len(windows), (longest - 1) * HOP_LENGTH + N_FFT)
        for signal, window in zip(signals, windows, strict=True):
            held = torch.from_numpy(window[: signal.numel()].copy())
            signal[: held.numel()] = held
        found = self._log_mel(send(signals, self._device), send(counts, self._device))[:, :, :n_frames]
        return torch.nn.functional.pad(found, (0, n_frames - found.shape[2]))

    def _log_mel(self, signals: Tensor, counts: Tensor) -> Tensor:
        """signals (n, samples), of which the first ``counts`` (n,) frames count -> (n, n_mels, frames)."""
        spectrum = torch.fft.rfft(signals.unfold(1, N_FFT, HOP_LENGTH) * self._hann)
        power = torch.view_as_real(spectrum).square().sum(-1)
        log_spec = (power @ self._filters).clamp_(min=1e-10).log10_()
        counted = (torch.arange(log_spec.shape[1], device=self._device) < counts[:, None])[:, :, None]
        loudest = log_spec.masked_fill(~counted, float("-inf")).amax((1, 2), keepdim=True)
        log_spec = (torch.maximum(log_spec, loudest - 8.0) + 4.0) / 4.0
        return log_spec.masked_fill(~counted, 0.0).transpose(1, 2)
