"""Channels that are taken apart, and what leaks from one into another."""

from pathlib import Path

import numpy as np
import pytest

from auricle.audio.channels import silence_crosstalk
from auricle.audio.decode import MAX_CHANNELS, decode_audio, decode_channels
from auricle.errors import AudioTooLong, UnsupportedAudio
from auricle.types import Samples
from samples import write_wav

SECOND = 16_000


def tone(seconds: float, hertz: float = 200.0) -> Samples:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * SECOND)) / SECOND)).astype(np.float32)


def read(path: Path, **options: float) -> np.ndarray:
    return np.concatenate(list(decode_channels(path, **options)), axis=1)


def test_channels_come_back_as_they_were_written(tmp_path: Path):
    both = np.stack([tone(2.5), tone(2.5, 700.0)])
    found = read(write_wav(tmp_path / "two.wav", both), block_s=1.0)
    assert found.shape == both.shape
    np.testing.assert_allclose(found, both, atol=1e-4)


def test_mono_is_one_channel_and_equals_the_mix(tmp_path: Path):
    path = write_wav(tmp_path / "one.wav", tone(1.0))
    np.testing.assert_array_equal(read(path)[0], np.concatenate(list(decode_audio(path))))


def test_more_channels_than_can_be_taken_apart_are_refused_but_mixed(tmp_path: Path):
    many = np.stack([tone(0.5)] * (MAX_CHANNELS + 1))
    path = write_wav(tmp_path / "many.wav", many)
    with pytest.raises(UnsupportedAudio, match=f"{MAX_CHANNELS + 1} channels; at most {MAX_CHANNELS}"):
        read(path)
    assert sum(block.size for block in decode_audio(path)) == SECOND // 2


def test_the_limit_of_length_is_that_of_the_file_not_of_its_channels(tmp_path: Path):
    path = write_wav(tmp_path / "two.wav", np.stack([tone(2.0), tone(2.0)]))
    assert read(path, max_audio_s=2.0).shape == (2, 2 * SECOND)
    with pytest.raises(AudioTooLong):
        read(path, max_audio_s=1.5)


def test_what_leaks_is_silenced_and_what_is_said_at_once_stays():
    left, right = tone(4.0), tone(4.0, 700.0)
    left[2 * SECOND :] = 0  # only the left, then only the right, but for the last second where both speak
    right[: 2 * SECOND] = 0
    left[3 * SECOND :] = tone(1.0)
    block = np.stack([left + 0.08 * right, right + 0.08 * left]).astype(np.float32)
    gated = silence_crosstalk(block)
    edge = SECOND // 4
    assert not gated[1, : 2 * SECOND - edge].any()
    assert not gated[0, 2 * SECOND + edge : 3 * SECOND - edge].any()
    np.testing.assert_array_equal(gated[0, : 2 * SECOND - edge], block[0, : 2 * SECOND - edge])
    np.testing.assert_array_equal(gated[:, 3 * SECOND :], block[:, 3 * SECOND :])
    assert block[1, : 2 * SECOND - edge].any(), "the block itself was changed"


def test_a_copy_of_a_channel_is_silenced():
    gated = silence_crosstalk(np.stack([tone(1.0), 0.999 * tone(1.0)]))
    assert gated[0].any()
    assert not gated[1].any()


def test_silence_and_one_channel_stay_what_they_are():
    for block in (np.zeros((2, 5000), np.float32), tone(0.3)[None], np.zeros((2, 0), np.float32)):
        np.testing.assert_array_equal(silence_crosstalk(block), block)
