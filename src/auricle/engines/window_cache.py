"""What a batch engine keeps of the windows that it has encoded, for what comes after their languages and first tries.

What is encoded is small and most of the work, so of many windows it is kept. The keys and values that the decoder reads
are many times as large and made of it in about a ninth of the time: they are kept of few.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

import numpy as np

from auricle.types import Features, Row

BATCH_BYTES = 512 * 2**20
"""Where the windows of a batch take no more, so many are kept: their languages come first, then their texts."""
_CACHE_BYTES = 144 * 2**20
_LEAST_WINDOWS = 2
"""Kept whatever their size."""
_LEAST_ENCODED = 16
"""Four files that come at once have their languages found in twelve windows."""

EncodedT = TypeVar("EncodedT")
"""What is said in one window: (S, D) numbers on some library."""
WindowT = TypeVar("WindowT")
"""What a network's decoder needs of one window: its keys and values, for each layer."""


class Encoder(Protocol[EncodedT, WindowT]):
    """A network up to its decoder."""

    def encode(self, features: Features) -> EncodedT:
        """One window, from its features (n_mels, frames), frames even."""
        ...

    def project(self, encoded: EncodedT) -> WindowT:
        """What the decoder needs of it; the same each time."""
        ...

    def size_of(self, window: WindowT) -> int:
        """Bytes that a window holds."""
        ...


class WindowCache(Generic[EncodedT, WindowT]):
    """Windows by ``Row.key``. Those that have a text go before those whose text is still to come, then the oldest."""

    def __init__(self, encoder: Encoder[EncodedT, WindowT], *, max_batch: int) -> None:
        self._encoder = encoder
        self._max_batch = max_batch
        self._encoded: OrderedDict[str, EncodedT] = OrderedDict()
        self._windows: OrderedDict[str, WindowT] = OrderedDict()
        """Of some of those that are encoded."""
        self._window_bytes = 0
        self._done: set[str] = set()
        """Those that are encoded and have a text."""

    def get(self, row: Row) -> WindowT:
        """Makes what is missing, and room for it."""
        key = row.key
        if key not in self._windows:
            self._drop_done_windows()
            if key not in self._encoded:
                self._add_encoded(row)
            self._add_window(key)
        self._encoded.move_to_end(key)
        self._windows.move_to_end(key)
        return self._windows[key]

    def note_texts(self, rows: Iterable[Row]) -> None:
        """These have a text now."""
        self._done.update(row.key for row in rows if row.key in self._encoded)

    def clear(self) -> None:
        """Forget all."""
        for key in list(self._encoded):
            self._forget(key)

    def _drop_done_windows(self) -> None:
        if self._window_bytes > _CACHE_BYTES:
            # Together: the windows of a batch may share memory, which is free when the last of them is gone.
            for key in self._done & self._windows.keys():
                self._forget_window(key)

    def _add_encoded(self, row: Row) -> None:
        self._encoded[row.key] = self._encoder.encode(_pad_features(row))
        while len(self._encoded) > max(_LEAST_ENCODED, 2 * self._max_batch):
            self._forget(self._first_to_go(self._encoded, but=row.key))

    def _add_window(self, key: str) -> None:
        window = self._encoder.project(self._encoded[key])
        self._windows[key] = window
        size = self._encoder.size_of(window)
        self._window_bytes += size
        batch = self._max_batch
        least = batch if batch * size <= BATCH_BYTES else _LEAST_WINDOWS
        while len(self._windows) > 2 * batch or (self._window_bytes > _CACHE_BYTES and len(self._windows) > least):
            self._forget_window(self._first_to_go(self._windows, but=key))

    def _first_to_go(self, keys: Iterable[str], *, but: str) -> str:
        """Of ``keys``, the oldest first, ``but`` the one that is asked for."""
        others = [key for key in keys if key != but]
        return next((key for key in others if key in self._done), others[0])

    def _forget(self, key: str) -> None:
        del self._encoded[key]
        self._done.discard(key)
        if key in self._windows:
            self._forget_window(key)

    def _forget_window(self, key: str) -> None:
        self._window_bytes -= self._encoder.size_of(self._windows.pop(key))


def _pad_features(row: Row) -> Features:
    """(n_mels, context_frames): the features with zeros after them, as openai/whisper's ``pad_or_trim``."""
    n_frames = row.options.context_frames
    padded = np.zeros((row.features.shape[0], n_frames), np.float32)
    found = row.features[:, :n_frames]
    padded[:, : found.shape[1]] = found
    return padded
