from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.audio.decode import decode_audio
from auricle.audio.mel import log_mel, with_margins
from auricle.engines.base import EngineConfig
from auricle.types import DecodingOptions, Row, Samples
from samples import NANO_HF, SAMPLES

torch = pytest.importorskip("torch")

from auricle.engines.torch_encoder import WindowEncoder  # noqa: E402
from auricle.engines.torch_features import MelBank  # noqa: E402
from auricle.engines.torch_load import LoadedWhisper, load_torch  # noqa: E402

CPU = torch.device("cpu")
BANKS = {n_mels: MelBank(n_mels, CPU) for n_mels in (80, 128)}


@pytest.fixture(scope="module")
def speech() -> Samples:
    return next(decode_audio(SAMPLES / "04_de.wav"))


@pytest.fixture(scope="module")
def loaded() -> LoadedWhisper:
    return load_torch(EngineConfig(engine="torch", model_name="nano", model_path=NANO_HF, device="cpu", threads=1))


@pytest.mark.parametrize("n_mels", [80, 128])
def test_features_are_those_of_the_host(n_mels: int, speech: Samples):
    expected = log_mel(speech, n_mels)
    found = BANKS[n_mels].features([with_margins(speech)], expected.shape[1])
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found[0], expected, atol=1e-4)


def test_windows_of_a_batch_keep_their_own_lengths_margins_and_loudness(speech: Samples):
    first, second, third = speech[1000:17_000], 0.01 * speech[16_000:40_321], speech[40_000:40_100]
    sides = [(speech[800:1000], speech[17_000:17_200]), (speech[:0], speech[:50]), (speech[:150], speech[:0])]
    windows = list(zip((first, second, third), sides, strict=True))
    given_samples = [with_margins(samples, before=before, after=after) for samples, (before, after) in windows]
    found = BANKS[80].features(given_samples, 300)
    assert found.shape == (3, 80, 300)
    for row, (samples, (before, after)) in zip(found, windows, strict=True):
        expected = log_mel(samples, 80, before=before, after=after)
        np.testing.assert_allclose(row[:, : expected.shape[1]], expected, atol=1e-4)
        assert not row[:, expected.shape[1] :].any()


def test_frames_beyond_those_asked_for_are_cut_off_but_count_for_the_loudness(speech: Samples):
    samples = np.concatenate([1e-3 * speech[:16_000], speech[16_000:32_000]])
    found = BANKS[80].features([with_margins(samples)], 100)
    np.testing.assert_allclose(found[0], log_mel(samples, 80)[:, :100], atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 20_000),
    gain=st.sampled_from([0.0, 1e-4, 0.1, 1.0]),
    seed=st.integers(0, 2**32 - 1),
    n_mels=st.sampled_from([80, 128]),
)
def test_any_signal_of_any_length_is_treated_alike(n: int, gain: float, seed: int, n_mels: int):
    signal = (gain * np.random.default_rng(seed).standard_normal(n)).astype(np.float32)
    expected = log_mel(signal, n_mels)
    found = BANKS[n_mels].features([with_margins(signal), with_margins(np.zeros(777, np.float32))], 130)
    np.testing.assert_allclose(found[0, :, : expected.shape[1]], expected, atol=1e-4)


def row(samples: Samples | None, features: Any) -> Row:
    return Row(
        key="k", features=features, prompt=(50258,), options=DecodingOptions(context_frames=400), samples=samples
    )


def test_rows_with_features_and_rows_with_samples_are_encoded_alike(loaded: LoadedWhisper, speech: Samples):
    parts = [speech[:48_000], speech[16_000:70_000]]
    with_features = [row(None, log_mel(part, 80)) for part in parts]
    with_samples = [row(with_margins(part), np.zeros((0, 300), np.float32)) for part in parts]
    encoder = WindowEncoder(loaded)
    expected = encoder.encode(with_features)
    assert expected.is_ready
    assert expected.take().shape == (2, 200, loaded.model.shape.d_model)
    for rows in (with_samples, [with_features[0], with_samples[1]]):
        np.testing.assert_allclose(encoder.encode(rows).take(), expected.take(), atol=1e-3)
