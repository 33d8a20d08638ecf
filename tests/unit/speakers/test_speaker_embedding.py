"""The network of voices: equal to the original one, and to librosa's spectrum before it."""

from pathlib import Path

import numpy as np
import pytest

from auricle.audio.decode import decode_audio
from auricle.speakers.embedding import Excerpt, _session, embed, mean_voice, power_spectra
from auricle.types import Samples
from samples import load_sample

# The mel spectrum by librosa 0.11, and vectors by Resemblyzer's network in torch, float32.
EXPECTED = np.load(Path(__file__).parent / "data" / "expected.npz")


@pytest.fixture(scope="module")
def speech() -> Samples:
    """The audio that the expected values are of: 300 frames."""
    return np.concatenate(list(decode_audio(load_sample("07").path)))[: 3 * 16_000 + 100]


def spectra(samples: Samples, first: int, last: int) -> np.ndarray:
    return power_spectra(samples, 160 * np.arange(first, last))


def test_the_mel_spectrum_equals_that_of_librosa(speech: Samples) -> None:
    power = spectra(speech, 0, 100)
    inputs = {
        "power": power,
        "frames": np.zeros((1, 1), np.int64),
        "gain": np.ones((1, 1), np.float32),
        "reads": np.zeros((1, 2), np.int64),
    }
    mel = _session().run(["mel"], inputs)[0]
    expected = EXPECTED["mel"]
    assert np.abs(mel - expected).max() < 1e-4 * expected.max()
    loud = expected > 1e-6
    assert (np.abs(mel - expected)[loud] < 1e-4 * expected[loud]).all()


def test_vectors_equal_those_of_the_original_network(speech: Samples) -> None:
    excerpts = [
        Excerpt(power=spectra(speech, first, last), reads=(last - first,)) for first, last in EXPECTED["reads"].tolist()
    ]
    alike = (embed(excerpts) * EXPECTED["voices"]).sum(axis=1)
    assert (alike > 0.996).all(), alike


def test_a_vector_can_be_read_in_the_middle_of_an_excerpt(speech: Samples) -> None:
    both = embed([Excerpt(power=spectra(speech, 0, 160), reads=(80, 160))])
    assert both.shape == (2, 256)
    assert both[0] @ EXPECTED["voices"][1] > 0.996
    assert both[1] @ EXPECTED["voices"][0] > 0.996


def test_neighbours_of_another_length_do_not_change_a_vector(speech: Samples) -> None:
    excerpts = [Excerpt(power=spectra(speech, 0, last), reads=(last,)) for last in (160, 30, 200, 90, 1)]
    together = embed(excerpts)
    for row, excerpt in zip(together, excerpts, strict=True):
        assert row @ embed([excerpt])[0] > 0.999


def test_many_excerpts_keep_their_order(speech: Samples) -> None:
    excerpts = [Excerpt(power=spectra(speech, first, first + 100), reads=(50, 100)) for first in range(0, 150, 2)]
    alone = np.concatenate([embed([excerpt]) for excerpt in excerpts])
    assert ((embed(excerpts) * alone).sum(axis=1) > 0.997).all()


def test_vectors_have_unit_length_even_of_silence(speech: Samples) -> None:
    silence = np.zeros((160, 201), np.float32)
    voices = embed([Excerpt(power=power, reads=(160,)) for power in (spectra(speech, 0, 160), silence)])
    assert np.allclose(np.linalg.norm(voices, axis=1), 1, atol=1e-4)
    assert np.linalg.norm(mean_voice(voices)) == pytest.approx(1, abs=1e-5)


def test_quiet_speech_has_the_same_voice(speech: Samples) -> None:
    loud, quiet = speech * (0.02 / speech.std()), speech * (0.002 / speech.std())
    voices = embed([Excerpt(power=spectra(samples, 0, 160), reads=(160,)) for samples in (loud, quiet)])
    assert voices[0] @ voices[1] > 0.999


def test_nothing_gives_no_vectors() -> None:
    assert embed([]).shape == (0, 256)


def test_frames_at_the_edges_see_silence_beyond_them() -> None:
    assert np.isfinite(power_spectra(np.ones(100, np.float32), np.array([0, 80, 100]))).all()
