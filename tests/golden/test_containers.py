"""Every container and codec gives the audio that went in."""

import io
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from auricle.audio.decode import decode_audio, probe_audio
from auricle.errors import CorruptAudio, EmptyAudio, UnsupportedAudio
from auricle.types import Samples
from media import CONTAINERS, SAMPLES, add_video, audio_frame, encode

ORIGINAL = SAMPLES / "01_en_slt.wav"


def decode(source: Path | bytes) -> Samples:
    blocks = list(decode_audio(io.BytesIO(source) if isinstance(source, bytes) else source))
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


@pytest.fixture(scope="module")
def original() -> Samples:
    return decode(ORIGINAL)


def align(decoded: Samples, original: Samples) -> tuple[int, float]:
    """Delay of ``decoded`` in samples, and its correlation with ``original`` at that delay."""
    size = decoded.size + original.size
    product = np.fft.irfft(np.fft.rfft(decoded, size) * np.conj(np.fft.rfft(original, size)), size)
    delay = int(np.argmax(product))
    norm = float(np.linalg.norm(decoded) * np.linalg.norm(original))
    return (delay if delay < size // 2 else delay - size), float(product[delay]) / norm


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_gives_the_audio_that_went_in(name: str, original: Samples, tmp_path: Path) -> None:
    encoding = CONTAINERS[name]
    decoded = decode(encode(original, tmp_path / "audio", encoding))
    delay, correlation = align(decoded, original)
    # Codecs work in frames of up to 2048 samples, whose filling and delay not every container records.
    frame = 0 if encoding.codec.startswith(("pcm", "flac")) else 4096 * 16_000 // encoding.rate
    assert abs(decoded.size - original.size) <= frame + 1
    assert abs(delay) <= frame
    assert correlation >= encoding.min_correlation


@pytest.mark.parametrize("name", ["wav_stereo", "wav_48000", "wav_16bit", "wav_24bit", "flac"])
def test_lossless_files_are_as_loud_as_the_original(name: str, original: Samples, tmp_path: Path) -> None:
    decoded = decode(encode(original, tmp_path / "audio", CONTAINERS[name]))
    n = min(decoded.size, original.size)
    assert np.abs(decoded[:n] - original[:n]).max() < 0.01


@pytest.mark.parametrize("name", CONTAINERS)
def test_probing_tells_the_codec_and_the_length(name: str, original: Samples, tmp_path: Path) -> None:
    encoding = CONTAINERS[name]
    info = probe_audio(encode(original, tmp_path / "audio", encoding))
    assert info.sample_rate == encoding.rate
    assert info.channels == encoding.channels
    assert info.codec
    assert info.container
    # Without an index the length is estimated from the first packets.
    assert info.duration_s is None or info.duration_s == pytest.approx(original.size / 16_000, rel=0.35)


def test_the_name_of_a_file_means_nothing(original: Samples, tmp_path: Path) -> None:
    flac = encode(original, tmp_path / "audio.flac", CONTAINERS["flac"])
    misnamed = flac.rename(tmp_path / "playlist.m3u8")
    assert decode(misnamed).size == original.size


@pytest.mark.parametrize("name", ["wav_16bit", "mp3", "flac", "opus", "aac", "amr", "mkv", "wma"])
def test_a_file_that_breaks_off_gives_what_is_there(name: str, original: Samples, tmp_path: Path) -> None:
    data = encode(original, tmp_path / "audio", CONTAINERS[name]).read_bytes()
    decoded = decode(data[: len(data) * 6 // 10])
    assert 0.3 * original.size < decoded.size < 0.8 * original.size
    delay, _ = align(decoded, original)
    assert abs(delay) <= 4096


def test_an_mp4_without_its_index_is_corrupt(original: Samples, tmp_path: Path) -> None:
    data = encode(original, tmp_path / "audio", CONTAINERS["m4a"]).read_bytes()
    with pytest.raises(CorruptAudio, match="cut off"):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize("name", ["mp3", "flac", "opus", "m4a"])
def test_a_hole_of_garbage_costs_only_what_it_hits(name: str, original: Samples, tmp_path: Path) -> None:
    data = bytearray(encode(original, tmp_path / "audio", CONTAINERS[name]).read_bytes())
    start, length = len(data) * 4 // 10, len(data) // 20
    data[start : start + length] = np.random.default_rng(1).bytes(length)
    assert decode(bytes(data)).size > 0.7 * original.size


def test_50_ms_of_audio_is_decoded(original: Samples, tmp_path: Path) -> None:
    path = encode(original[16_000:16_800], tmp_path / "audio.wav", CONTAINERS["wav_16bit"])
    assert decode(path).size == 800


def test_a_track_without_samples_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
    assert path.stat().st_size == 44
    assert decode(path).size == 0


def test_no_bytes_are_empty_audio() -> None:
    with pytest.raises(EmptyAudio):
        decode(b"")


@pytest.mark.parametrize(
    "data",
    [b"This is a letter, not a recording.\n" * 50, b'{"text": "hello"}', b"<html></html>", bytes(4096), b"x"],
    ids=["text", "json", "html", "zeros", "one byte"],
)
def test_other_files_are_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedAudio, match="not an audio or video file"):
        decode(data)


def test_a_picture_is_unsupported(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    with av.open(str(path), "w", format="image2") as out:
        stream = out.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        out.mux(stream.encode(None))
    with pytest.raises(UnsupportedAudio):
        decode(path)


def test_a_video_without_sound_is_unsupported(tmp_path: Path) -> None:
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w", format="mp4") as out:
        add_video(out, seconds=1)
    with pytest.raises(UnsupportedAudio, match="no audio track"):
        decode(path)


def test_only_the_first_audio_track_is_read(original: Samples, tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w", format="matroska") as out:
        streams = [out.add_stream("flac", rate=16_000, layout="mono") for _ in range(2)]
        for stream, signal in zip(streams, (original, np.zeros_like(original)), strict=True):
            out.mux(stream.encode(audio_frame(signal[None], 0)))
        for stream in streams:
            out.mux(stream.encode(None))
    decoded = decode(path)
    assert decoded.size == original.size
    assert align(decoded, original)[1] > 0.99
