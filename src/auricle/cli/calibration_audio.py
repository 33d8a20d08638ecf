"""Recordings into the windows that an encoder is quantized with, and those that it is checked with."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from auricle.audio.decode import decode_audio
from auricle.audio.mel import log_mel
from auricle.engines.openvino_optimize import Windows
from auricle.errors import InputError
from auricle.types import Samples
from auricle.units import N_SAMPLES, SAMPLE_RATE

MOST_WINDOWS = 32
"""Of speech; more change the ranges little."""
_LEAST_WINDOWS = 16
"""Of speech to calibrate with; where there are fewer, pieces of what is there are strung together."""
_HELD_OUT = 4
"""Every so many windows, one is kept for the check."""
_LEAST_SAMPLES = SAMPLE_RATE // 2
_LONGEST_PAUSE = SAMPLE_RATE


def read_windows(files: Sequence[Path]) -> list[Samples]:
    """30 s at a time of all files, the last one of each shorter; of more than ``MOST_WINDOWS``, every so many.

    Raises InputError for a file that cannot be decoded, and OSError.
    """
    kept: list[Samples] = []
    step = 1
    for number, window in enumerate(window for file in files for window in _cut(file)):
        if number % step == 0:
            kept.append(window)
        if len(kept) > MOST_WINDOWS:
            kept, step = kept[::2], 2 * step
    return kept


def make_windows(recorded: Sequence[Samples], n_mels: int) -> Windows:
    """Features of what was recorded, and of what else an encoder hears: quiet and noisy speech, noise, silence.

    The windows for the check are others, where there are enough.
    """
    random = np.random.default_rng(0)
    held_out = [*recorded[_HELD_OUT - 1 :: _HELD_OUT]] or [*recorded]
    speech = [window for number, window in enumerate(recorded) if number % _HELD_OUT != _HELD_OUT - 1]
    held_out.append(_string(held_out, random))
    while len(speech) < _LEAST_WINDOWS:
        speech.append(_string(speech, random))
    changed = [
        speech[number] * np.float32(10 ** random.uniform(-1.5, 0.3))
        if number % 2
        else speech[number] + _noise(10 ** random.uniform(-3, -1.3), speech[number].size, random)
        for number in range(0, len(speech), 3)
    ]
    silence = np.zeros(N_SAMPLES, np.float32)
    noises = [_noise(level, N_SAMPLES, random) for level in (0.001, 0.05)]
    calibration = [*speech, *changed, silence, *noises]
    held_out += [silence, _noise(0.02, N_SAMPLES, random)]
    return Windows(
        calibration=[log_mel(_fill(window), n_mels) for window in calibration],
        held_out=[log_mel(_fill(window), n_mels) for window in held_out],
    )


def _cut(file: Path) -> Iterator[Samples]:
    waiting: list[Samples] = []
    try:
        for block in decode_audio(file):
            waiting.append(block)
            while sum(part.size for part in waiting) >= N_SAMPLES:
                joined = np.concatenate(waiting)
                yield joined[:N_SAMPLES].copy()
                waiting = [joined[N_SAMPLES:]]
    except InputError as error:
        raise type(error)(f"{file}: {error.message}") from error
    rest = np.concatenate(waiting) if waiting else np.zeros(0, np.float32)
    if rest.size >= _LEAST_SAMPLES:
        yield rest


def _string(pieces: Iterable[Samples], random: np.random.Generator) -> Samples:
    """30 s of pieces in any order, with pauses between."""
    choice, joined = list(pieces), np.zeros(0, np.float32)
    while joined.size < N_SAMPLES:
        piece = choice[random.integers(len(choice))]
        first = random.integers(max(1, piece.size - 10 * SAMPLE_RATE))
        pause = np.zeros(random.integers(_LONGEST_PAUSE), np.float32)
        joined = np.concatenate([joined, piece[first : first + 10 * SAMPLE_RATE], pause])
    return joined[:N_SAMPLES]


def _noise(level: float, size: int, random: np.random.Generator) -> Samples:
    return (level * random.standard_normal(size)).astype(np.float32)


def _fill(window: Samples) -> Samples:
    return np.pad(window, (0, N_SAMPLES - window.size))
