"""Noise of the room: found where nobody speaks, and taken out of the spectrum."""

import numpy as np
import pytest
from benchmarks.conversations import load_voices

from auricle.speakers.embedding import power_spectra
from auricle.speakers.known import voice_of
from auricle.speakers.noise import noise_spectrum, subtract_noise

RNG = np.random.default_rng(0)
HUM = RNG.normal(0, 0.01, 48_000).astype(np.float32)
CENTRES = 80 + 160 * np.arange(290)


def test_the_spectrum_of_noise_is_its_mean() -> None:
    noise = noise_spectrum(HUM, CENTRES)
    assert noise is not None
    assert noise.mean() == pytest.approx(power_spectra(HUM, CENTRES).mean(), rel=0.15)


def test_a_word_among_the_silence_is_no_noise() -> None:
    with_word = HUM.copy()
    with_word[10_000:20_000] += RNG.normal(0, 0.3, 10_000).astype(np.float32)
    noise, with_noise = noise_spectrum(HUM, CENTRES), noise_spectrum(with_word, CENTRES)
    assert noise is not None
    assert with_noise is not None
    assert with_noise.mean() == pytest.approx(noise.mean(), rel=0.2)


def test_too_little_silence_tells_nothing() -> None:
    assert noise_spectrum(HUM, CENTRES[:7]) is None
    power = power_spectra(HUM, CENTRES)
    assert subtract_noise(power, None) is power


def test_spectra_stay_positive_and_noise_becomes_little() -> None:
    power = power_spectra(HUM, CENTRES)
    rest = subtract_noise(power, noise_spectrum(HUM, CENTRES))
    assert rest.min() == 0
    assert rest.mean() < 0.2 * power.mean()


@pytest.mark.parametrize("name", ["george", "rms"])
def test_noise_hardly_changes_a_voice(name: str) -> None:
    sample = load_voices()[name].reference
    pause = np.zeros(8_000, np.float32)
    quiet = np.concatenate([pause, sample, pause])
    noisy = quiet + RNG.normal(0, 0.004, quiet.size).astype(np.float32)  # 22 dB below the voice
    assert np.dot(voice_of(quiet), voice_of(noisy)) > 0.85
