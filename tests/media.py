"""Makes audio and video files for tests, with PyAV's encoders."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

from auricle.types import Samples
from auricle.units import SAMPLE_RATE

AUDIO = Path(__file__).parent / "audio"
SAMPLES = AUDIO / "samples"


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How a file is written; ``container`` and the codecs are FFmpeg's names."""

    suffix: str
    container: str
    codec: str
    rate: int = SAMPLE_RATE
    channels: int = 1
    bit_rate: int | None = None
    options: dict[str, str] = field(default_factory=dict)
    video: bool = False
    min_correlation: float = 0.99
    """With the original, after alignment: what the codec's loss allows."""


_WAV_CODECS = {
    "8bit": "pcm_u8",
    "16bit": "pcm_s16le",
    "24bit": "pcm_s24le",
    "32bit": "pcm_s32le",
    "float": "pcm_f32le",
    "ulaw": "pcm_mulaw",
    "alaw": "pcm_alaw",
}

CONTAINERS: dict[str, Encoding] = {
    **{f"wav_{name}": Encoding(suffix="wav", container="wav", codec=codec) for name, codec in _WAV_CODECS.items()},
    **{
        f"wav_{rate}": Encoding(suffix="wav", container="wav", codec="pcm_s16le", rate=rate, min_correlation=0.9)
        for rate in (8_000, 11_025, 22_050, 44_100, 48_000, 96_000)
    },
    "wav_stereo": Encoding(suffix="wav", container="wav", codec="pcm_s16le", rate=44_100, channels=2),
    "mp3": Encoding(suffix="mp3", container="mp3", codec="libmp3lame", rate=44_100, channels=2, bit_rate=128_000),
    "m4a": Encoding(suffix="m4a", container="ipod", codec="aac", rate=44_100, channels=2, bit_rate=128_000),
    "flac": Encoding(suffix="flac", container="flac", codec="flac"),
    "ogg": Encoding(
        suffix="ogg", container="ogg", codec="vorbis", rate=44_100, channels=2, options={"strict": "experimental"}
    ),
    "opus": Encoding(suffix="opus", container="ogg", codec="libopus", rate=48_000, bit_rate=48_000),
    "webm": Encoding(suffix="webm", container="webm", codec="libopus", rate=48_000, bit_rate=48_000),
    "mp4_video": Encoding(suffix="mp4", container="mp4", codec="aac", rate=48_000, bit_rate=128_000, video=True),
    "mkv": Encoding(suffix="mkv", container="matroska", codec="aac", rate=48_000, bit_rate=128_000, video=True),
    "amr": Encoding(
        suffix="amr", container="amr", codec="libopencore_amrnb", rate=8_000, bit_rate=12_200, min_correlation=0.6
    ),
    "3gp": Encoding(
        suffix="3gp", container="3gp", codec="libopencore_amrnb", rate=8_000, bit_rate=12_200, min_correlation=0.6
    ),
    "wma": Encoding(suffix="wma", container="asf", codec="wmav2", rate=44_100, bit_rate=128_000),
    "aac": Encoding(suffix="aac", container="adts", codec="aac", rate=44_100, bit_rate=128_000),
}


def encode(samples: Samples, path: Path, encoding: Encoding) -> Path:
    """Writes 16 kHz mono ``samples`` to ``path``, and returns it."""
    with av.open(str(path), "w", format=encoding.container) as out:
        layout = "mono" if encoding.channels == 1 else "stereo"
        stream = out.add_stream(encoding.codec, rate=encoding.rate, options=encoding.options, layout=layout)
        assert isinstance(stream, AudioStream)
        if encoding.bit_rate is not None:
            stream.bit_rate = encoding.bit_rate
        if encoding.video:
            add_video(out, seconds=samples.size / SAMPLE_RATE)
        for start in range(0, samples.size, SAMPLE_RATE):
            # Channels are made here: FFmpeg's mix from mono to stereo is quieter.
            channels = np.repeat(samples[None, start : start + SAMPLE_RATE], encoding.channels, axis=0)
            out.mux(stream.encode(audio_frame(channels, start)))
        out.mux(stream.encode(None))
    return path


def audio_frame(channels: Samples, start: int) -> av.AudioFrame:
    """A frame of 16 kHz ``channels`` (1 or 2, n) that begins at sample ``start``."""
    layout = "mono" if len(channels) == 1 else "stereo"
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(channels), format="fltp", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
    return frame


def add_video(out: OutputContainer, *, seconds: float) -> None:
    """A track of small grey pictures, 5 a second, muxed at once."""
    stream = out.add_stream("mpeg4", rate=5)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for _ in range(max(1, round(seconds * 5))):
        picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 128, np.uint8), format="rgb24")
        out.mux(stream.encode(picture))
    out.mux(stream.encode(None))
