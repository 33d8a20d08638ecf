"""Any audio or video file -> 16 kHz mono samples, as a stream, through FFmpeg's libraries (PyAV)."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.filter import Graph
from av.stream import Discard
from numpy.typing import NDArray

from auricle.errors import AudioTooLong, CorruptAudio, EmptyAudio, UnsupportedAudio
from auricle.types import Samples
from auricle.units import SAMPLE_RATE, seconds_to_samples

# Containers that hold their own audio. A playlist (hls, concat, dash, sdp …) would make FFmpeg open whatever
# files and addresses an upload names, so what is not listed here is refused.
_CONTAINERS = (
    "aac ac3 act aiff amr ape asf au avi bonk caf codec2 dsf dss dts dtshd dv eac3 flac flv gxf hcom iff ircam lc3 "
    "loas matroska,webm mlp mov,mp4,m4a,3gp,3g2,mj2 mp3 mpc mpc8 mpeg mpegts mxf nistsphere nut nuv ogg oma osq qcp "
    "qoa rm sbc shn sln sol sox spdif tak truehd tta voc w64 wav wavarc wsd wtv wv xwma"
).replace(" ", ",")

# (offset, bytes) by which a file that cannot be opened is still known to have been audio.
_SIGNATURES = (
    (0, b"RIFF"),
    (0, b"RF64"),
    (0, b"OggS"),
    (0, b"fLaC"),
    (0, b"ID3"),
    (0, b"\x1aE\xdf\xa3"),
    (0, b"#!AMR"),
    (0, b"FORM"),
    (4, b"ftyp"),
    (4, b"mdat"),
)

# Rates no recording has: one frame at 1 Hz would grow to gigabytes when resampled.
_MIN_RATE, _MAX_RATE = 1_000, 768_000

MAX_CHANNELS = 8
"""That can be taken apart: each costs what a file of its own does."""

Channels = NDArray[np.float32]
"""float32 (channels, n), 16 kHz, about -1 … 1."""

# A made-up file may hold millions of packets of a few bytes, and each that is refused costs more than one that is
# decoded. So many in vain are minutes of a recording, where most of the rest is lost too.
_MAX_BARREN_PACKETS = 10_000
_MAX_BARREN_SHARE = 0.8

# The error of a sum of a million lengths of frames stays far below this.
_ROUNDING_S = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioInfo:
    """What a file says about its first audio track, before anything is decoded."""

    duration_s: float | None
    """None where the file does not say; may be an estimate, or wrong."""
    container: str
    codec: str
    sample_rate: int
    channels: int


def decode_audio(
    source: Path | BinaryIO, *, max_audio_s: float | None = None, block_s: float = 30.0
) -> Generator[Samples]:
    """Blocks of ``block_s`` seconds of the first audio track; the last one is shorter.

    ``source`` is a path or a seekable binary file, read from its start; its name is not looked at.
    Channels are mixed as FFmpeg does (stereo: the mean). Broken packets are skipped, and a file that breaks off gives
    what is there. Gaps in the timestamps are not filled. A track without samples gives no block.

    Raises EmptyAudio, UnsupportedAudio, CorruptAudio (nothing can be decoded), AudioTooLong (noticed while decoding),
    OSError where ``source`` cannot be read. Nothing is raised before the first block is asked for.
    """
    for block in _decode(source, _Blocks(seconds_to_samples(block_s)), max_audio_s, is_mixed=True):
        yield block[0]


def decode_channels(
    source: Path | BinaryIO, *, max_audio_s: float | None = None, block_s: float = 30.0
) -> Generator[Channels]:
    """The same with the channels apart: blocks (channels, n), at most ``MAX_CHANNELS``.

    Raises UnsupportedAudio where there are more, and where their number changes in the file.
    """
    return _decode(source, _Blocks(seconds_to_samples(block_s)), max_audio_s, is_mixed=False)


def _decode(
    source: Path | BinaryIO, blocks: "_Blocks", max_audio_s: float | None, *, is_mixed: bool
) -> Generator[Channels]:
    with _open(source) as container:
        seconds = 0.0
        mixer: _Mixer | None = None
        for frame in _frames(container, _audio_stream(container)):
            if not is_mixed and frame.layout.nb_channels > MAX_CHANNELS:
                raise UnsupportedAudio(
                    f"the audio has {frame.layout.nb_channels} channels; at most {MAX_CHANNELS} can be taken apart"
                )
            if not _MIN_RATE <= frame.sample_rate <= _MAX_RATE:
                raise UnsupportedAudio(
                    f"the audio has a sample rate of {frame.sample_rate} Hz; {_MIN_RATE} to {_MAX_RATE} Hz can be read"
                )
            seconds += frame.samples / frame.sample_rate
            if max_audio_s is not None and seconds > max_audio_s + _ROUNDING_S:
                raise AudioTooLong(f"the audio is longer than the limit of {max_audio_s:g} s; send it in parts")
            if mixer is None or not mixer.fits(frame):
                if mixer is not None:
                    yield from blocks.add(mixer.mix(None))
                mixer = _Mixer(frame, is_mixed=is_mixed)
            yield from blocks.add(mixer.mix(frame))
        if mixer is not None:
            yield from blocks.add(mixer.mix(None))
    yield from blocks.rest()


def probe_audio(source: Path | BinaryIO) -> AudioInfo:
    """What the headers say. Raises as ``decode_audio`` does."""
    with _open(source) as container:
        stream = _audio_stream(container)
        duration: float | None = None
        if stream.duration is not None and stream.time_base is not None:
            duration = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            duration = container.duration / av.time_base
        return AudioInfo(
            duration_s=duration,
            container=container.format.name,
            codec=stream.codec_context.name,
            sample_rate=stream.codec_context.sample_rate or 0,
            channels=stream.codec_context.channels,
        )


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


class _Nameless:
    """The reading side of a file: FFmpeg would guess the format from a ``name``."""

    def __init__(self, file: _Readable) -> None:
        self.read = file.read
        self.seek = file.seek
        self.tell = file.tell


@contextmanager
def _open(source: Path | BinaryIO) -> Generator[InputContainer]:
    if isinstance(source, Path):
        with source.open("rb") as file, _open(file) as container:
            yield container
        return
    source.seek(0)
    head = source.read(16)
    source.seek(0)
    if not head:
        raise EmptyAudio("the audio is empty: it has no bytes")
    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "none"}
    try:
        container = av.open(
            _Nameless(source), "r", container_options=options, metadata_errors="ignore", io_open=_refuse_to_open
        )
    except (av.error.FFmpegError, PermissionError) as exc:
        if any(head[offset:].startswith(magic) for offset, magic in _SIGNATURES):
            raise CorruptAudio(f"the audio cannot be read; it may be cut off ({_reason(exc)})") from exc
        raise UnsupportedAudio(f"this is not an audio or video file that can be read ({_reason(exc)})") from exc
    with container:
        yield container


def _refuse_to_open(url: str, flags: int, options: dict[str, str]) -> Any:
    raise PermissionError("an upload must not refer to other files")


def _reason(exc: Exception) -> str:
    # PyAV adds the file's name, of which there is none.
    return exc.strerror or type(exc).__name__ if isinstance(exc, av.error.FFmpegError) else str(exc)


def _audio_stream(container: InputContainer) -> AudioStream:
    """The first audio track; nothing else is read."""
    if not container.streams.audio:
        raise UnsupportedAudio("the file has no audio track")
    stream = container.streams.audio[0]
    # None where FFmpeg has no decoder, though PyAV's types do not say so.
    if cast("object", stream.codec_context) is None:
        raise UnsupportedAudio("the audio track has a codec that cannot be read")
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    return stream


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Decoded frames; what cannot be decoded is left out, as the ffmpeg program does, as long as it is not too much."""
    error: av.error.FFmpegError | None = None
    barren, fruitful = 0, 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as exc:
            error = exc
            break
        if packet is None:
            break
        if barren > _MAX_BARREN_PACKETS and barren > _MAX_BARREN_SHARE * (barren + fruitful):
            raise CorruptAudio("too much of the audio cannot be decoded") from error
        frames: list[AudioFrame] = []
        try:
            frames = [frame for frame in packet.decode() if frame.samples > 0]
        except av.error.FFmpegError as exc:
            error = exc
        barren, fruitful = (barren, fruitful + 1) if frames else (barren + 1, fruitful)
        yield from frames
    if error is not None and not fruitful:
        raise CorruptAudio(f"the audio cannot be decoded ({_reason(error)})") from error
    if not fruitful and (stream.duration or 0) > 0:
        raise CorruptAudio("the audio cannot be decoded: nothing follows its headers")


class _Mixer:
    """Frames of one format to 16 kHz, mono or as many channels as there are.

    A filter graph of its own, since AudioResampler cannot be told to keep a mix of float channels within -1 … 1.
    """

    def __init__(self, frame: AudioFrame, *, is_mixed: bool) -> None:
        self._key = _format_of(frame)
        self._waiting = 0
        """Samples that were pushed since the last pull."""
        try:
            self._graph = _graph(frame, mean=False, is_mixed=is_mixed)
        except av.error.FFmpegError as error:
            if not is_mixed:
                raise UnsupportedAudio(f"the channels of the audio cannot be read ({_reason(error)})") from error
            # FFmpeg knows no mix for channels of unknown places.
            try:
                self._graph = _graph(frame, mean=True, is_mixed=True)
            except av.error.FFmpegError as exc:
                raise UnsupportedAudio(f"audio of {frame.layout.nb_channels} channels cannot be mixed") from exc

    def fits(self, frame: AudioFrame) -> bool:
        return self._key == _format_of(frame)

    def mix(self, frame: AudioFrame | None) -> Iterator[Channels]:
        """What is ready after ``frame``, once a second; all that is left after None."""
        try:
            if frame is not None:
                frame.pts = None
                self._waiting += frame.samples
            self._graph.push(frame)
            # Asking after every frame of 20 ms would cost as much as decoding it.
            if frame is not None and self._waiting < frame.sample_rate:
                return
            self._waiting = 0
            while True:
                yield cast("Channels", cast("AudioFrame", self._graph.pull()).to_ndarray())
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        except av.error.FFmpegError as exc:
            raise CorruptAudio(f"the audio cannot be resampled ({_reason(exc)})") from exc


def _format_of(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _graph(frame: AudioFrame, *, mean: bool, is_mixed: bool) -> Graph:
    graph = Graph()
    steps = [
        graph.add(
            "abuffer",
            sample_rate=str(frame.sample_rate),
            sample_fmt=frame.format.name,
            channel_layout=frame.layout.name,
        )
    ]
    if mean:
        channels = "+".join(f"c{n}" for n in range(frame.layout.nb_channels))
        steps.append(graph.add("pan", f"mono|c0<{channels}"))
    steps += [
        graph.add("aresample", rematrix_maxval="1.0"),
        graph.add(
            "aformat",
            sample_rates=str(SAMPLE_RATE),
            sample_fmts="fltp",
            channel_layouts="mono" if is_mixed else frame.layout.name,
        ),
        graph.add("asetnsamples", nb_out_samples=str(SAMPLE_RATE), pad="0"),
        graph.add("abuffersink"),
    ]
    graph.link_nodes(*steps).configure()
    return graph


class _Blocks:
    """Arrays (channels, n) of any length in, arrays of one length out."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._block = np.empty((0, size), np.float32)
        self._filled = 0

    def add(self, parts: Iterator[Channels]) -> Iterator[Channels]:
        for part in parts:
            if not len(self._block):
                self._block = np.empty((len(part), self._size), np.float32)
            elif len(part) != len(self._block):
                raise UnsupportedAudio(f"the audio has {len(self._block)} channels at first and {len(part)} later")
            left = part
            while left.shape[1]:
                taken = left[:, : self._size - self._filled]
                self._block[:, self._filled : self._filled + taken.shape[1]] = taken
                self._filled += taken.shape[1]
                left = left[:, taken.shape[1] :]
                if self._filled == self._size:
                    yield from self.rest()
                    self._block = np.empty((len(part), self._size), np.float32)

    def rest(self) -> Iterator[Channels]:
        if self._filled:
            block = self._block[:, : self._filled]
            self._filled = 0
            # Float files may hold anything; one NaN would stay in the VAD's state for good.
            np.nan_to_num(block, copy=False, nan=0.0, posinf=1.0, neginf=-1.0)
            yield np.clip(block, -1.0, 1.0, out=block)
