"""decode_audio: what it reads, what it refuses, and how much it holds."""

import io
import struct
import tracemalloc
import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from auricle.audio.decode import decode_audio, probe_audio
from auricle.errors import AudioTooLong, CorruptAudio, EmptyAudio, UnsupportedAudio
from auricle.types import Samples
from media import AUDIO, SAMPLES


def wav(channels: Sequence[np.ndarray], rate: int = 16_000) -> io.BytesIO:
    """A float WAV file, so that any value can be written; no channel mask."""
    data = np.stack(channels, axis=1).astype("<f4")
    n_channels = data.shape[1]
    fmt = struct.pack("<HHIIHH", 3, n_channels, rate, rate * 4 * n_channels, 4 * n_channels, 32)
    body = b"WAVE" + b"fmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", data.nbytes) + data.tobytes()
    return io.BytesIO(b"RIFF" + struct.pack("<I", len(body)) + body)


def joined(source: Path | io.BytesIO) -> Samples:
    return np.concatenate(list(decode_audio(source)))


def test_16_khz_mono_comes_out_as_it_went_in() -> None:
    path = SAMPLES / "01_en_slt.wav"
    with wave.open(str(path)) as file:
        expected = np.frombuffer(file.readframes(-1), np.int16) / np.float32(32768)
    assert np.array_equal(joined(path), expected)


def test_blocks_have_the_length_asked_for_and_the_last_is_shorter() -> None:
    sizes = [block.size for block in decode_audio(SAMPLES / "01_en_slt.wav", block_s=1.0)]
    assert sizes == [16_000, 16_000, 16_000, 11_520]


def test_blocks_do_not_share_memory() -> None:
    blocks = list(decode_audio(SAMPLES / "01_en_slt.wav", block_s=0.5))
    assert not any(np.shares_memory(a, b) for a in blocks for b in blocks if a is not b)


def test_the_length_of_the_blocks_does_not_change_the_audio() -> None:
    path = AUDIO / "jfk.flac"
    whole = joined(path)
    assert whole.size == 11 * 16_000
    assert np.array_equal(np.concatenate(list(decode_audio(path, block_s=0.37))), whole)


def test_resampling_keeps_a_tone_and_its_place() -> None:
    seconds = np.arange(44_100) / 44_100
    decoded = joined(wav([0.5 * np.sin(2 * np.pi * 440 * seconds)], rate=44_100))
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert decoded.size == 16_000
    assert np.abs(decoded - expected)[100:-100].max() < 1e-3


def test_stereo_is_mixed_to_the_mean() -> None:
    left, right = np.full(8_000, 0.8), np.full(8_000, 0.2)
    assert joined(wav([left, right])) == pytest.approx(0.5, abs=1e-3)


def test_loud_float_channels_do_not_grow_when_mixed() -> None:
    assert joined(wav([np.ones(8_000), np.ones(8_000)])) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("channels", [3, 6, 10, 24])
def test_any_number_of_channels_is_mixed(channels: int) -> None:
    decoded = joined(wav([np.full(8_000, 0.5)] * channels))
    assert decoded.size == 8_000
    assert decoded == pytest.approx(0.5, abs=1e-2)


def test_values_that_are_no_numbers_become_silence_and_large_ones_are_clipped() -> None:
    signal = np.zeros(4_000)
    signal[1_000:1_010], signal[2_000:2_010], signal[3_000:3_010] = np.nan, np.inf, -1e30
    decoded = joined(wav([signal]))
    assert np.all(np.isfinite(decoded))
    assert np.abs(decoded).max() <= 1.0
    assert decoded[3_005] == -1.0


def test_the_format_may_change_midway() -> None:
    """MP3 files one after the other, each of its own rate and channels."""
    data = b""
    for rate, layout in ((16_000, "mono"), (48_000, "stereo"), (8_000, "mono")):
        part = io.BytesIO()
        with av.open(part, "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}) as out:
            stream = out.add_stream("libmp3lame", rate=rate, layout=layout)
            tone = 0.25 * np.sin(2 * np.pi * 300 * np.arange(rate) / rate)
            channels = np.repeat(tone[None].astype(np.float32), 1 if layout == "mono" else 2, axis=0)
            frame = av.AudioFrame.from_ndarray(channels, format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        data += part.getvalue()
    decoded = joined(io.BytesIO(data))
    assert decoded.size / 16_000 == pytest.approx(3.0, abs=0.5)
    for second in (0.5, 1.6, 2.6):
        piece = decoded[round(second * 16_000) :][:3_200]
        assert np.abs(piece).max() == pytest.approx(0.25, abs=0.03)
        assert np.argmax(np.abs(np.fft.rfft(piece))) * 5 == 300


def test_too_long_audio_is_refused_while_it_is_decoded_and_the_limit_is_named() -> None:
    blocks = decode_audio(SAMPLES / "08_en_60s.flac", max_audio_s=30.0, block_s=10.0)
    seen: list[Samples] = []
    with pytest.raises(AudioTooLong, match="30 s"):
        seen.extend(blocks)
    assert len(seen) == 2


def test_audio_of_exactly_the_limit_is_taken() -> None:
    assert len(list(decode_audio(SAMPLES / "10_silence.wav", max_audio_s=10.0))) == 1


@pytest.mark.parametrize("rate", [1, 999, 2_000_000])
def test_rates_that_no_recording_has_are_refused(rate: int) -> None:
    with pytest.raises(UnsupportedAudio, match=f"{rate} Hz"):
        joined(wav([np.zeros(5_000)], rate=rate))


def test_an_empty_file_is_named_as_such() -> None:
    with pytest.raises(EmptyAudio):
        joined(io.BytesIO(b""))


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        joined(tmp_path / "nothing.wav")


def test_a_header_that_breaks_off_is_corrupt() -> None:
    data = (SAMPLES / "01_en_slt.wav").read_bytes()
    with pytest.raises(CorruptAudio, match="cut off"):
        joined(io.BytesIO(data[:20]))


def test_packets_that_cannot_be_decoded_are_corrupt_where_none_can() -> None:
    data = bytearray((SAMPLES / "08_en_60s.flac").read_bytes())
    start = data.index(b"\xff\xf8")
    data[start:] = np.random.default_rng(0).bytes(len(data) - start)
    with pytest.raises(CorruptAudio):
        joined(io.BytesIO(bytes(data)))


def test_a_file_of_countless_tiny_packets_that_all_fail_is_given_up() -> None:
    noise = np.random.default_rng(0).bytes(400_000)
    gsm_in_packets_of_4_bytes = struct.pack("<HHIIHH", 0x31, 1, 16_000, 16_000, 4, 4)
    head = b"WAVEfmt " + struct.pack("<I", 16) + gsm_in_packets_of_4_bytes + b"data" + struct.pack("<I", len(noise))
    source = io.BytesIO(b"RIFF" + struct.pack("<I", len(head) + len(noise)) + head + noise)
    with pytest.raises(CorruptAudio, match="too much"):
        joined(source)
    assert source.tell() < len(noise) // 2


def test_errors_of_the_file_itself_pass_through() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 50_000:
                raise TimeoutError("the disk is gone")
            return super().read(size)

    with pytest.raises(TimeoutError, match="the disk is gone"):
        joined(Broken((AUDIO / "jfk.flac").read_bytes()))


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Audio on the server that no upload may reach."""
    path = tmp_path / "secret.ts"
    with av.open(str(path), "w", format="mpegts") as out:
        stream = out.add_stream("mp2", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.full((1, 32_000), 0.1, np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def playlists(secret: Path) -> dict[str, str]:
    return {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        # FFmpeg itself refuses paths here that are not relative.
        "concat": f"ffconcat version 1.0\nfile '{secret.name}'\n",
    }


@pytest.mark.parametrize("kind", ["hls", "concat"])
def test_a_playlist_cannot_make_ffmpeg_open_a_file(
    kind: str, secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    playlist = tmp_path / ("list.m3u8" if kind == "hls" else "list.ffconcat")
    playlist.write_text(playlists(secret)[kind])
    for source in (playlist, io.BytesIO(playlist.read_bytes())):
        with pytest.raises(UnsupportedAudio):
            joined(source)
        with pytest.raises(UnsupportedAudio):
            probe_audio(source)


@pytest.mark.parametrize("kind", ["hls", "concat"])
def test_the_playlists_of_these_tests_would_work_without_the_guard(kind: str, secret: Path, tmp_path: Path) -> None:
    playlist = tmp_path / ("list.m3u8" if kind == "hls" else "list.ffconcat")
    playlist.write_text(playlists(secret)[kind])
    with av.open(str(playlist), "r") as container:
        assert next(container.decode(audio=0)).samples > 0


@pytest.mark.parametrize(
    "text",
    [
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>',
        "1\n00:00:00,000 --> 00:00:01,000\nhello\n",
        "[playlist]\nFile1=http://127.0.0.1/a.mp3\n",
    ],
    ids=["sdp", "dash", "srt", "pls"],
)
def test_other_texts_that_ffmpeg_would_follow_are_refused(text: str) -> None:
    with pytest.raises(UnsupportedAudio):
        joined(io.BytesIO(text.encode()))


def test_memory_does_not_grow_with_the_length_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", ""))
        for _ in range(10):
            out.writeframes(bytes(60 * 32_000))
    tracemalloc.start()
    seconds = sum(block.size for block in decode_audio(path, block_s=10.0)) / 16_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds == 10 * 60
    assert peak < 4 * 10 * 16_000 * 4


def test_probing_tells_what_the_headers_say() -> None:
    info = probe_audio(AUDIO / "jfk.flac")
    assert (info.container, info.codec, info.sample_rate, info.channels) == ("flac", "flac", 44_100, 2)
    assert info.duration_s == pytest.approx(11.0)
