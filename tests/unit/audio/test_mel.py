"""log_mel against openai/whisper's figures, and against itself on parts of a file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.audio.decode import decode_audio
from auricle.audio.mel import log_mel
from auricle.mel_scale import mel_filters
from auricle.types import Samples
from media import SAMPLES

# Of 04_de.wav: openai/whisper's formula in float64, with the filters that it ships.
REFERENCE = Path(__file__).parent / "data" / "log_mel_04_de.npz"


@pytest.fixture(scope="module")
def speech() -> Samples:
    return next(decode_audio(SAMPLES / "04_de.wav"))


def exact(samples: Samples, n_mels: int) -> np.ndarray:
    """The definition in float64, with 30 s of zeros appended."""
    padded = np.pad(np.concatenate([samples.astype(np.float64), np.zeros(480_000)]), 200, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][: -(-samples.size // 160)]
    power = np.abs(np.fft.rfft(frames * hann)) ** 2
    log_spec = np.log10(np.maximum(mel_filters(n_mels).astype(np.float64) @ power.T, 1e-10))
    return (np.maximum(log_spec, log_spec.max() - 8) + 4) / 4


@pytest.mark.parametrize("n_mels", [80, 128])
def test_features_equal_those_of_openai_whisper(n_mels: int, speech: Samples) -> None:
    with np.load(REFERENCE) as data:
        expected = data[f"mel_{n_mels}"]
    features = log_mel(speech, n_mels)
    assert features.shape == expected.shape
    assert features.dtype == np.float32
    assert np.abs(features - expected).max() < 1e-4


def test_a_faint_sound_beside_a_loud_one_keeps_its_precision() -> None:
    noise = np.random.default_rng(3).standard_normal(32_000)
    signal = (0.9 * np.sin(2 * np.pi * 1000 * np.arange(32_000) / 16_000) + 1e-5 * noise).astype(np.float32)
    assert np.abs(log_mel(signal, 80) - exact(signal, 80)).max() < 1e-4


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 40_000),
    gain=st.sampled_from([0.0, 1e-4, 0.1, 1.0]),
    seed=st.integers(0, 2**32 - 1),
    n_mels=st.sampled_from([80, 128]),
)
def test_any_signal_of_any_length_follows_the_definition(n: int, gain: float, seed: int, n_mels: int) -> None:
    signal = (gain * np.random.default_rng(seed).standard_normal(n)).astype(np.float32)
    features = log_mel(signal, n_mels)
    assert features.shape == (n_mels, -(-n // 160))
    assert np.abs(features - exact(signal, n_mels)).max() < 1e-4


@settings(max_examples=40, deadline=None)
@given(start=st.integers(0, 120), length=st.integers(1, 20_000), known=st.integers(200, 400))
def test_a_window_equals_its_part_of_the_whole_file(start: int, length: int, known: int) -> None:
    rng = np.random.default_rng(start)
    whole = rng.uniform(-0.5, 0.5, 40_000).astype(np.float32)
    first, end = start * 160, start * 160 + length
    part = log_mel(whole[first:end], 80, before=whole[max(0, first - known) : first], after=whole[end : end + known])
    # Noise has no values so low that the limit of 8 decades would hide a difference.
    assert np.abs(part - log_mel(whole, 80)[:, start : start + part.shape[1]]).max() < 1e-4


@pytest.mark.parametrize("skipped", [1, 60, 199])
def test_less_than_200_samples_before_are_mirrored_at_the_start_of_the_file(skipped: int) -> None:
    whole = np.random.default_rng(0).uniform(-0.5, 0.5, 8_000).astype(np.float32)
    part = log_mel(whole[skipped:], 80, before=whole[:skipped])
    # The same frames, of a file that really holds what the mirror shows.
    mirrored = np.concatenate([whole[200 - skipped : 0 : -1], whole])
    expected = log_mel(mirrored[200:], 80, before=mirrored[:200])
    assert np.abs(part - expected).max() < 1e-5


def test_no_samples_give_no_frames() -> None:
    assert log_mel(np.zeros(0, np.float32), 128).shape == (128, 0)


def test_a_full_window_has_3000_frames() -> None:
    assert log_mel(np.ones(480_000, np.float32), 80).shape == (80, 3000)


def test_silence_is_flat() -> None:
    assert np.all(log_mel(np.zeros(16_000, np.float32), 80) == np.float32(-1.5))
