"""Conversations strung from the sample recordings, and who speaks when in them."""

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from auricle.audio.decode import decode_audio
from auricle.speaker_types import Turn
from auricle.types import Samples
from samples import load_sample, write_wav

WOMAN = "01_en_slt"
MAN = "02_en_rms"
STRANGER = "07_en_human_digits"
RATE = 16_000


def voice(name: str) -> Samples:
    """A recording with one speaker, all at about the same level."""
    samples = np.concatenate([*decode_audio(load_sample(name).path)])
    return (samples * (0.05 / np.sqrt(np.mean(samples**2)))).astype(np.float32)


def write_conversation(path: Path, names: Sequence[str], *, pause_s: float = 0.7) -> list[Turn]:
    """The recordings one after another, with silence between them; who spoke when."""
    parts: list[Samples] = []
    turns: list[Turn] = []
    position = 0
    for name in names:
        samples = voice(name)
        turns.append(Turn(start=position / RATE, end=(position + samples.size) / RATE, speaker=name))
        silence = np.zeros(int(pause_s * RATE), np.float32)
        parts += [samples, silence]
        position += samples.size + silence.size
    write_wav(path, np.concatenate(parts))
    return turns


def write_call(path: Path, *, leak_db: float = -22.0) -> list[Turn]:
    """A recorded call: A on the left, B on the right, each with some of the other; who spoke when.

    They take turns, but for the last one, with which B interrupts.
    """
    lines = [("A", WOMAN, 0.5), ("B", MAN, 4.5), ("A", STRANGER, 9.0), ("B", WOMAN, 11.0)]
    voices = [voice(name) for _, name, _ in lines]
    length = int(RATE * (lines[-1][2] + 1)) + voices[-1].size
    sides = {side: np.zeros(length, np.float32) for side, _, _ in lines}
    turns: list[Turn] = []
    for (side, _, start_s), samples in zip(lines, voices, strict=True):
        first = int(start_s * RATE)
        sides[side][first : first + samples.size] = samples
        turns.append(Turn(start=start_s, end=start_s + samples.size / RATE, speaker=side))
    leak = 10 ** (leak_db / 20)
    noise = 1e-4 * np.random.default_rng(0).standard_normal((2, length), dtype=np.float32)
    call = np.stack([sides["A"] + leak * sides["B"], sides["B"] + leak * sides["A"]]) + noise
    write_wav(path, call.astype(np.float32))
    return turns


def data_url(path: Path) -> str:
    return "data:audio/wav;base64," + base64.b64encode(path.read_bytes()).decode()
