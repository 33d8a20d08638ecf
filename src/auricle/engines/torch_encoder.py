"""Encodes windows while the decoder works on others: on CUDA it has a stream of its own."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyTorch's functions carry incomplete types.

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from auricle.engines.torch_features import MelBank, send
from auricle.engines.torch_load import LoadedWhisper
from auricle.types import Row


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """Encodings that may still be on their way."""

    windows: Tensor
    done: torch.cuda.Event | None

    @property
    def is_ready(self) -> bool:
        """Whether ``take`` would keep nobody waiting."""
        return self.done is None or self.done.query()

    def take(self) -> Tensor:
        """The encodings (n, positions, d_model); what is done with them on the present stream comes after them."""
        if self.done is not None:
            stream = torch.cuda.current_stream(self.windows.device)
            stream.wait_event(self.done)
            # Their memory belongs to the encoder's stream, which must not use it again before this one is through.
            self.windows.record_stream(stream)
        return self.windows


class WindowEncoder:
    """Encodes the windows of rows; called by one thread."""

    def __init__(self, loaded: LoadedWhisper) -> None:
        self._model = loaded.model
        self._device = loaded.device
        self._bank = MelBank(loaded.model.shape.n_mels, loaded.device)
        self._stream = torch.cuda.Stream(loaded.device) if loaded.device.type == "cuda" else None

    def encode(self, rows: Sequence[Row]) -> Encoded:
        """The windows of ``rows``, which share ``context_frames``, all at once; on CUDA it does not wait for them."""
        stream = nullcontext() if self._stream is None else torch.cuda.stream(self._stream)
        with torch.inference_mode(), stream:
            encoded = self._model.encode(self._features(rows))
            done = None
            if self._stream is not None:
                done = torch.cuda.Event()
                done.record()
        return Encoded(windows=encoded, done=done)

    def _features(self, rows: Sequence[Row]) -> Tensor:
        """(n, n_mels, context_frames) on the device: the rows' features with zeros after them."""
        n_frames = rows[0].options.context_frames
        heard = [index for index, row in enumerate(rows) if row.samples is not None]
        windows = [row.samples for row in rows if row.samples is not None]
        if len(windows) == len(rows):
            return self._bank.features(windows, n_frames)
        padded = np.zeros((len(rows), self._model.shape.n_mels, n_frames), np.float32)
        for index, row in enumerate(rows):
            if row.samples is None:
                found = row.features[:, :n_frames]
                padded[index, :, : found.shape[1]] = found
        features = send(torch.from_numpy(padded), self._device)
        if windows:
            features[heard] = self._bank.features(windows, n_frames)
        return features
