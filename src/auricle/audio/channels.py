"""Channels that each belong to one speaker: what leaks from one into another is silenced."""

import numpy as np
from numpy.typing import NDArray

from auricle.audio.decode import Channels
from auricle.units import SAMPLE_RATE

_FRAME = SAMPLE_RATE // 50
"""20 ms."""
_SMOOTH = 10
"""Frames over which levels are taken: shorter than a word, longer than the pauses inside of one."""
_LEAK = 10 ** (-15 / 20)
"""A channel that is so much quieter than another one holds what leaks from there: 15 dB."""
_SAME = 1e-3
"""Share of the energy in the difference of two channels that are one recording: -30 dB."""


def silence_crosstalk(block: Channels) -> Channels:
    """A copy of ``block`` with silence where a channel has nothing of its own, and in copies of an earlier channel.

    In a call each side has a channel of its own, but headsets and lines let the other side through, some 20 dB lower;
    its words would be found twice. Where both speak, both stay. Blocks are best of some seconds and more.
    """
    gated = block.copy()
    if len(block) < 2 or not block.shape[1]:
        return gated
    for later in range(1, len(block)):
        if any(_is_same(block[earlier], block[later]) for earlier in range(later)):
            gated[later] = 0.0
    levels = _levels(gated)
    leaks = levels < _LEAK * levels.max(axis=0, keepdims=True)
    gated[np.repeat(leaks, _FRAME, axis=1)[:, : block.shape[1]]] = 0.0
    return gated


def _is_same(left: NDArray[np.float32], right: NDArray[np.float32]) -> bool:
    energy = float(np.dot(left, left) + np.dot(right, right))
    difference = left - right
    return energy > 0 and float(np.dot(difference, difference)) < _SAME * energy


def _levels(block: Channels) -> NDArray[np.float32]:
    """(channels, frames): the loudest of the frames around each, as root mean square."""
    frames = -(-block.shape[1] // _FRAME)
    padded = np.zeros((block.shape[0], frames * _FRAME), np.float32)
    padded[:, : block.shape[1]] = block
    power = np.square(padded.reshape(block.shape[0], frames, _FRAME)).mean(axis=2)
    around = np.pad(power, ((0, 0), (_SMOOTH // 2, _SMOOTH - _SMOOTH // 2 - 1)), mode="edge")
    return np.sqrt(np.lib.stride_tricks.sliding_window_view(around, _SMOOTH, axis=1).max(axis=2))
