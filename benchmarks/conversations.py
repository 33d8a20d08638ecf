"""Conversations made of recordings of one speaker each, so that it is known who speaks when; the same everywhere.

Speakers take turns of 1.5-10 s. Of the changes four in five come after a pause, one in eight while the other still
speaks. Speakers differ in loudness, and there is noise.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from auricle.audio.decode import decode_audio
from auricle.speaker_types import Turn
from auricle.types import Clip, Samples, VadOptions
from auricle.units import SAMPLE_RATE
from auricle.windows.clips import Clipper

VOICES = Path(__file__).parents[1] / "tests" / "audio" / "voices"
_BLOCK = 30 * SAMPLE_RATE
_LEVEL = 0.05
_REFERENCE_SHARE = 0.25
"""Of the recordings of a speaker, those that samples of the voice are made of; they are in no conversation."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Voice:
    """Recordings of one speaker."""

    name: str
    kind: str
    """``human`` or ``synthetic``."""
    held_out: bool
    recordings: tuple[Samples, ...]

    @property
    def spoken(self) -> tuple[Samples, ...]:
        """For conversations."""
        return self.recordings[: len(self.recordings) - self._n_reference]

    @property
    def reference(self) -> Samples:
        """A sample of the voice, of other recordings: 5-8 s."""
        pause = np.zeros(SAMPLE_RATE // 10, np.float32)
        parts = [part for recording in self.recordings[-self._n_reference :] for part in (recording, pause)]
        return np.concatenate(parts)

    @property
    def _n_reference(self) -> int:
        return round(len(self.recordings) * _REFERENCE_SHARE)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conversation:
    """Who speaks when, and what it sounds like."""

    name: str
    speakers: tuple[str, ...]
    samples: Samples
    turns: tuple[Turn, ...]


@cache
def load_voices() -> dict[str, Voice]:
    """All voices, by name."""
    index = json.loads((VOICES / "voices.json").read_text("utf-8"))
    return {name: _load(name, facts) for name, facts in index.items()}


def make_conversation(names: Sequence[str], seconds: float, seed: int, *, snr_db: float = 25.0) -> Conversation:
    """A conversation of these voices; each speaks about as long as the others."""
    rng = np.random.default_rng(seed)
    voices = [load_voices()[name] for name in names]
    stocks = [_shuffled(voice.spoken, rng) for voice in voices]
    gains = [10 ** (rng.uniform(-6, 6) / 20) for _ in voices]
    spoken_s = [0.0] * len(voices)
    mix = np.zeros(round((seconds + 15) * SAMPLE_RATE), np.float32)
    turns: list[Turn] = []
    position, last = SAMPLE_RATE // 2, -1
    while position < seconds * SAMPLE_RATE:
        others = [index for index in range(len(voices)) if index != last or len(voices) == 1]
        # The one who has said least is the likeliest to go on.
        speaker = min(others, key=lambda index: spoken_s[index] + rng.uniform(0, 12))
        turn = _string(stocks[speaker], float(np.exp(rng.uniform(np.log(1.5), np.log(10)))), rng)
        start = position if not turns else max(0, position + _pause(rng))
        mix[start : start + turn.size] += turn * (gains[speaker] * 10 ** (rng.uniform(-2, 2) / 20))
        position, last = start + turn.size, speaker
        spoken_s[speaker] += turn.size / SAMPLE_RATE
        turns.append(Turn(start=start / SAMPLE_RATE, end=position / SAMPLE_RATE, speaker=names[speaker]))
    mix = mix[: position + SAMPLE_RATE // 2]
    noisy = mix + _noise(mix.size, rng) * (_LEVEL * 10 ** (-snr_db / 20))
    name = f"{'+'.join(names)}-{seconds:g}s-{seed}"
    samples = np.clip(noisy, -1, 1).astype(np.float32)
    return Conversation(name=name, speakers=tuple(names), samples=samples, turns=tuple(turns))


def find_clips(blocks: Iterable[Samples]) -> Iterator[Clip]:
    """As the transcription cuts them."""
    clipper = Clipper(VadOptions())
    for block in blocks:
        for first in range(0, block.size, _BLOCK):
            yield from clipper.feed(block[first : first + _BLOCK])
    yield from clipper.finish()


def _load(name: str, facts: dict) -> Voice:
    audio = np.concatenate(list(decode_audio(VOICES / f"{name}.flac")))
    cuts = [slice(*(round(edge * SAMPLE_RATE) for edge in place)) for place in facts["recordings"]]
    held_out = facts["set"] == "held-out"
    return Voice(name=name, kind=facts["kind"], held_out=held_out, recordings=tuple(audio[cut] for cut in cuts))


def _shuffled(recordings: Sequence[Samples], rng: np.random.Generator) -> Iterator[Samples]:
    """All in random order, then all again in another one."""
    while True:
        for index in rng.permutation(len(recordings)):
            yield recordings[index]


def _string(stock: Iterator[Samples], seconds: float, rng: np.random.Generator) -> Samples:
    """Recordings with short pauses, at least ``seconds``."""
    parts: list[Samples] = []
    length = 0
    while length < seconds * SAMPLE_RATE:
        if parts:
            parts.append(np.zeros(round(rng.uniform(0.08, 0.3) * SAMPLE_RATE), np.float32))
        parts.append(next(stock))
        length = sum(part.size for part in parts)
    return np.concatenate(parts)


def _pause(rng: np.random.Generator) -> int:
    """Samples between two turns; below zero where they overlap."""
    kind = rng.random()
    low, high = (0.1, 1.2) if kind < 0.8 else (-0.8, -0.2) if kind < 0.925 else (1.5, 3.0)
    return round(rng.uniform(low, high) * SAMPLE_RATE)


def _noise(count: int, rng: np.random.Generator) -> Samples:
    """Noise that falls by 3 dB an octave, as that of rooms, with a mean square of 1."""
    spectrum = np.fft.rfft(rng.normal(size=count).astype(np.float32))
    spectrum /= np.sqrt(np.maximum(np.arange(spectrum.size), 50 * count / SAMPLE_RATE))
    noise = np.fft.irfft(spectrum, count)
    return (noise / np.sqrt(np.square(noise).mean())).astype(np.float32)
