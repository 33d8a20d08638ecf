"""Noise, sounds that are not speech, and changes of speech and features; all random, none of them heavy."""

import math
import random
from dataclasses import dataclass

import numpy as np
import torch
from features import N_MELS, SAMPLE_RATE

CHORDS = [(0,), (0, 4, 7), (0, 3, 7), (0, 7), (0, 5, 9)]
SCALE = [0, 2, 4, 5, 7, 9, 11, 12]


@dataclass(frozen=True, slots=True)
class Dice:
    """The two sources of chance: numbers from `python`, arrays from `numpy`."""

    python: random.Random
    numpy: np.random.RandomState

    @classmethod
    def seeded(cls, seed: int) -> "Dice":
        """Return dice that always fall the same for a seed."""
        return cls(random.Random(seed), np.random.RandomState(seed % 2**31))


def noise(n: int, dice: Dice) -> np.ndarray:
    """Return white, pink or brown noise, or noise around one frequency; of about unit power."""
    kind = dice.python.choice(["white", "pink", "brown", "band"])
    if kind == "white":
        return dice.numpy.randn(n).astype(np.float32)
    n_fft = _power_of_two(max(n, 64))
    spectrum = np.fft.rfft(dice.numpy.randn(n_fft))
    frequencies = np.arange(len(spectrum)) / n_fft * SAMPLE_RATE + 20
    if kind == "pink":
        spectrum /= np.sqrt(frequencies)
    elif kind == "brown":
        spectrum /= frequencies
    else:
        center = dice.python.uniform(200, 5000)
        distance = np.log(frequencies) - math.log(center)
        spectrum *= np.exp(-(distance**2) / (2 * dice.python.uniform(0.3, 1) ** 2))
    samples = np.fft.irfft(spectrum, n_fft)[:n]
    return (samples / (samples.std() + 1e-9)).astype(np.float32)


def nonspeech(n: int, dice: Dice) -> np.ndarray:
    """Return silence, noise, tones, something like music, or clicks."""
    rng = dice.python
    kind = rng.random()
    if kind < 0.2:
        return np.zeros(n, np.float32)
    if kind < 0.55:
        samples = noise(n, dice) * 10 ** rng.uniform(-4, -0.8)
    elif kind < 0.72:
        samples = _tones(n, rng)
    elif kind < 0.92:
        samples = _music(n, rng)
    else:
        samples = _clicks(n, dice)
    if rng.random() < 0.4:
        samples = samples + noise(n, dice) * 10 ** rng.uniform(-4.5, -2)
    return samples.astype(np.float32)


def _tones(n: int, rng: random.Random) -> np.ndarray:
    times = np.arange(n) / SAMPLE_RATE
    samples = np.zeros(n)
    for _ in range(rng.randint(1, 3)):
        samples += np.sin(2 * np.pi * rng.uniform(50, 3000) * times + rng.random()) * rng.uniform(0.2, 1)
    return samples * rng.uniform(0.003, 0.2)


def _music(n: int, rng: random.Random) -> np.ndarray:
    samples = np.zeros(n)
    base = rng.choice([110, 147, 196, 220, 262, 330])
    start = 0
    while start < n:
        length = min(int(rng.uniform(0.12, 0.8) * SAMPLE_RATE), n - start)
        times = np.arange(length) / SAMPLE_RATE
        envelope = np.exp(-times * rng.uniform(1, 6)) * np.minimum(1, times * 50)
        for interval in rng.choice(CHORDS):
            pitch = base * 2 ** ((interval + rng.choice(SCALE)) / 12)
            for harmonic in range(1, rng.randint(2, 6)):
                wave = np.sin(2 * np.pi * pitch * harmonic * times)
                samples[start : start + length] += wave * envelope / harmonic
        start += length
    return samples * (rng.uniform(0.02, 0.3) / (np.abs(samples).max() + 1e-6))


def _clicks(n: int, dice: Dice) -> np.ndarray:
    rng = dice.python
    samples = np.zeros(n)
    for _ in range(rng.randint(1, max(2, n // 8000))):
        start = rng.randint(0, max(0, n - 200))
        length = min(rng.randint(20, 1500), n - start)
        decay = np.exp(-np.arange(length) / rng.uniform(20, 400))
        samples[start : start + length] += dice.numpy.randn(length) * decay * rng.uniform(0.02, 0.4)
    return samples


def vary_speech(samples: np.ndarray, dice: Dice) -> np.ndarray:
    """Change speed (with the pitch), room and loudness."""
    rng = dice.python
    if rng.random() < 0.4:
        speed = rng.uniform(0.9, 1.12)
        times = np.arange(int(len(samples) / speed)) * speed
        samples = np.interp(times, np.arange(len(samples)), samples).astype(np.float32)
    if rng.random() < 0.06:
        samples = _reverberate(samples, dice)
    return samples * 10 ** rng.uniform(-0.7, 0.3)


def _reverberate(samples: np.ndarray, dice: Dice) -> np.ndarray:
    length = int(dice.python.uniform(0.08, 0.3) * SAMPLE_RATE)
    room = dice.numpy.randn(length) * np.exp(-np.arange(length) / (length / 4))
    room *= dice.python.uniform(0.1, 0.5) / np.sqrt((room**2).sum())
    room[0] = 1
    n_fft = _power_of_two(len(samples) + length)
    spectrum = np.fft.rfft(samples, n_fft) * np.fft.rfft(room, n_fft)
    return np.fft.irfft(spectrum, n_fft)[: len(samples)].astype(np.float32)


def add_background(samples: np.ndarray, end: int, dice: Dice, *, is_speech: bool) -> None:
    """Add noise in place, over all or up to half a second after `end`; digital silence stays where none falls."""
    rng = dice.python
    n = len(samples)
    noisy = n if rng.random() < 0.5 else min(n, end + rng.randint(0, SAMPLE_RATE // 2))
    if is_speech and rng.random() < 0.3:
        level = np.sqrt((samples[:end] ** 2).mean() + 1e-9) * 10 ** (-rng.uniform(0.5, 2.2))
        samples[:noisy] += noise(noisy, dice) * level
    elif rng.random() < 0.5:
        samples[:noisy] += dice.numpy.randn(noisy).astype(np.float32) * 10 ** rng.uniform(-5, -3.7)


def vary_spectrum(log_mel: torch.Tensor, rng: random.Random) -> None:
    """Change raw log-mel (80, n) in place: vocal tract length, tilt and ripple, and the top of the band."""
    if rng.random() < 0.2:
        places = torch.clamp(torch.arange(N_MELS) * rng.uniform(0.92, 1.08), 0, N_MELS - 1)
        low = places.floor().long()
        high = torch.clamp(low + 1, max=N_MELS - 1)
        share = (places - low)[:, None]
        log_mel[:] = log_mel[low] * (1 - share) + log_mel[high] * share
    if rng.random() < 0.25:
        tilt = torch.linspace(-1, 1, N_MELS)[:, None] * rng.uniform(-0.5, 0.5)
        depth = rng.uniform(-0.3, 0.3)
        ripple = torch.sin(torch.linspace(0, 6.28 * rng.random() * 2, N_MELS) + 6.28 * rng.random())
        log_mel += tilt + depth * ripple[:, None]
    if rng.random() < 0.08:
        log_mel[rng.randint(60, 66) :] = -10.0


def mask_features(features: torch.Tensor, rng: random.Random) -> None:
    """Blank some mel bands and some short times of features (80, n) in place."""
    if rng.random() < 0.12:
        band = rng.randint(0, 72)
        features[band : band + rng.randint(2, 8)] = features.mean()
    if rng.random() < 0.08:
        n_frames = features.shape[-1]
        for _ in range(max(1, n_frames // 800)):
            start = rng.randint(0, n_frames - 20)
            features[:, start : start + rng.randint(3, 12)] = features.mean()


def _power_of_two(n: int) -> int:
    return 1 << math.ceil(math.log2(n))
