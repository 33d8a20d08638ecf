"""Requests for transcripts that went wrong on the way: broken audio in sound forms, and sound audio in broken forms.

The same seed always makes the same requests.
"""

import base64
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from live_server import SAMPLES

from auricle.audio.decode import decode_audio
from media import CONTAINERS, encode

_BOUNDARY = b"XXboundaryXX"
_ROUTES = {
    "/v1/audio/transcriptions": "file",
    "/v1/audio/translations": "file",
    "/v1/transcribe": "file",
    "/transcribe": "file",
    "/inference": "file",
    "/asr": "audio_file",
    "/detect-language": "audio_file",
}
"""Route -> the part that holds the audio."""
_JSON_ROUTES = ("/v1/audio/transcriptions", "/v1/chat/completions", "/debug/audio-info")
_FORMATS = ("json", "text", "srt", "verbose_json", "vtt", "tsv")
_LIES = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, 0x10000)
_CONTAINERS = ("wav_16bit", "wav_float", "wav_alaw", "mp3", "m4a", "flac", "ogg", "opus", "webm", "mp4_video", "aac")


@dataclass(frozen=True)
class BadRequest:
    """A POST; ``label`` says how it was made."""

    label: str
    path: str
    content_type: str
    body: bytes
    announced: int | None = None
    """Content-Length, where it is not that of the body."""

    @property
    def breaks_off(self) -> bool:
        """Whether less comes than is announced, and the sender leaves then."""
        return self.announced is not None and len(self.body) < self.announced < 2 * len(self.body)


def sound_files(folder: Path) -> list[bytes]:
    """Two seconds of speech in many containers."""
    samples = np.concatenate(list(decode_audio(SAMPLES / "01_en_slt.wav")))[:32_000]
    return [encode(samples, folder / name, CONTAINERS[name]).read_bytes() for name in _CONTAINERS]


def bad_requests(seed: int, count: int, files: Sequence[bytes]) -> list[BadRequest]:
    """``count`` requests, three of five with broken audio, the others with broken bodies."""
    rng = Random(seed)
    makers = [_broken_audio, _broken_audio, _broken_audio, _broken_form, _broken_json]
    return [makers[number % len(makers)](rng, files, number) for number in range(count)]


def _broken_audio(rng: Random, files: Sequence[bytes], number: int) -> BadRequest:
    audio, labels = rng.choice(files), []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        mutation = rng.choice(_OF_AUDIO)
        audio = mutation(rng, audio, files)
        labels.append(mutation.__name__.strip("_"))
    path = rng.choice(list(_ROUTES))
    name = f"a.{rng.choice(('wav', 'mp3', 'm4a', 'txt', 'exe', '../../x'))}"
    body = _form(rng, _ROUTES[path], audio, name)
    content_type = f"multipart/form-data; boundary={_BOUNDARY.decode()}"
    return BadRequest(f"{number} {'+'.join(labels)}", path, content_type, body)


def _broken_form(rng: Random, files: Sequence[bytes], number: int) -> BadRequest:
    path = rng.choice(list(_ROUTES))
    body = _form(rng, _ROUTES[path], rng.choice(files), "a.wav")
    boundary = _BOUNDARY
    how = rng.choice(("cut", "flips", "boundary", "no end", "twice", "newlines", "names", "many parts", "lies"))
    announced = None
    if how == "cut":
        body = body[: rng.randrange(len(body))]
    elif how == "flips":
        body = _flipped(rng, body, 300, 3)
    elif how == "boundary":
        boundary = rng.choice((b"YY", b"", b"X" * 300, b'"', _BOUNDARY[:-1], b"--", b"\xe9"))
    elif how == "no end":
        body = body.removesuffix(b"--\r\n")
    elif how == "twice":
        body += body
    elif how == "newlines":
        body = body.replace(b"\r\n", rng.choice((b"\n", b"\r", b"\r\n\r\n")), rng.randrange(1, 20))
    elif how == "names":
        body = body.replace(b'name="', rng.choice((b'name="\0', b"name=", b"name*=utf-9''\"", b'nam="', b'name="\xff')))
    elif how == "many parts":
        body = (b"--" + _BOUNDARY + b'\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx\r\n') * 600 + body
    else:
        announced = rng.choice((0, len(body) // 2, len(body) + 99, 10**18))
    content_type = f"multipart/form-data; boundary={boundary.decode('latin-1')}"
    return BadRequest(f"{number} form: {how}", path, content_type, body, announced)


def _broken_json(rng: Random, files: Sequence[bytes], number: int) -> BadRequest:
    audio = rng.choice(files)
    if rng.random() < 0.5:
        audio = rng.choice(_OF_AUDIO)(rng, audio, files)
    encoded = base64.b64encode(audio).decode()
    data = rng.choice(
        (encoded, encoded, f"data:audio/wav;base64,{encoded}", encoded[:-1], encoded[::-1], "=" * 5000, 7, None)
    )
    message = {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}]}
    document = rng.choice(
        (
            {"audio": data},
            {"audio": data, "model": rng.choice(("nano", "whisper-9", "", 5, ["nano"]))},
            {"messages": [message], "stream": rng.choice((True, False, "yes"))},
            {"messages": rng.choice(([], [message] * 50, [[message]], {"0": message}, "hello", [None, message]))},
            {"audio_options": rng.choice(({"data": data}, [data], data))},
            {"audio": data, "language": rng.choice(("xx", "en\0", "e" * 9999, {}))},
        )
    )
    body = json.dumps(document).encode()
    how = rng.choice(("as is", "as is", "as is", "cut", "flips", "deep", "not utf-8", "nan"))
    if how == "cut":
        body = body[: rng.randrange(len(body))]
    elif how == "flips":
        body = _flipped(rng, body, len(body), 3)
    elif how == "deep":
        body = b'{"messages":' + b"[" * rng.choice((50, 5_000, 500_000))
    elif how == "not utf-8":
        body = body.replace(b'"audio"', b'"audio\xff"') + b"\xff"
    elif how == "nan":
        body = body[:-1] + b', "temperature": NaN}'
    return BadRequest(f"{number} json: {how}", rng.choice(_JSON_ROUTES), "application/json", body)


def _form(rng: Random, name: str, audio: bytes, file_name: str) -> bytes:
    fields = {"response_format": rng.choice(_FORMATS)}
    if rng.random() < 0.2:
        fields = {"stream": "true"}
    elif rng.random() < 0.2:
        fields |= {"vad": "false", "temperature": "0.4", "beam_size": "3"}
    parts = [f'form-data; name="{field}"\r\n\r\n{value}'.encode() for field, value in fields.items()]
    parts.append(f'form-data; name="{name}"; filename="{file_name}"\r\n\r\n'.encode() + audio)
    rng.shuffle(parts)
    head = b"--" + _BOUNDARY + b"\r\nContent-Disposition: "
    return b"".join(head + part + b"\r\n" for part in parts) + b"--" + _BOUNDARY + b"--\r\n"


def _flipped(rng: Random, data: bytes, reach: int, count: int) -> bytes:
    """``count`` bits of the first ``reach`` bytes turned over."""
    out = bytearray(data)
    for _ in range(count if out else 0):
        out[rng.randrange(min(reach, len(out)))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _flip_header(rng: Random, audio: bytes, _files: Sequence[bytes]) -> bytes:
    return _flipped(rng, audio, 200, rng.randrange(1, 12))


def _flip_anywhere(rng: Random, audio: bytes, _files: Sequence[bytes]) -> bytes:
    return _flipped(rng, audio, len(audio), rng.randrange(1, 400))


def _cut_off(rng: Random, audio: bytes, _files: Sequence[bytes]) -> bytes:
    return audio[: rng.choice((0, 1, 4, 12, 44, 45, rng.randrange(len(audio) + 1)))]


def _lose_the_start(rng: Random, audio: bytes, _files: Sequence[bytes]) -> bytes:
    return audio[rng.randrange(len(audio) + 1) :]


def _splice(rng: Random, audio: bytes, files: Sequence[bytes]) -> bytes:
    other = rng.choice(files)
    return audio[: rng.randrange(len(audio) + 1)] + other[rng.randrange(len(other)) :]


def _lie_in_header(rng: Random, audio: bytes, _files: Sequence[bytes]) -> bytes:
    """Numbers of 32 bits that no file has: sizes, rates, counts of channels."""
    out = bytearray(audio.ljust(8, b"\0"))
    for _ in range(rng.randrange(1, 4)):
        place = rng.randrange(min(len(out) - 4, 256) + 1)
        struct.pack_into(rng.choice(("<I", ">I")), out, place, rng.choice(_LIES))
    return bytes(out)


def _blank(rng: Random, audio: bytes, _files: Sequence[bytes]) -> bytes:
    start, length = rng.randrange(len(audio) + 1), rng.randrange(1, 4096)
    return audio[:start] + rng.choice((b"\0", b"\xff")) * length + audio[start + length :]


def _repeat(rng: Random, audio: bytes, _files: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(audio) + 1)
    return audio[:start] + audio[start : start + rng.randrange(1, 2048)] * rng.randrange(2, 40) + audio[start:]


def _wrong_magic(rng: Random, audio: bytes, files: Sequence[bytes]) -> bytes:
    size = rng.choice((4, 8, 12, 36, 64))
    return rng.choice(files)[:size] + audio[size:]


def _nest_in_wav(rng: Random, audio: bytes, _files: Sequence[bytes]) -> bytes:
    """Another file as the samples of a wav file of some codec, rate and number of channels."""
    codec = rng.choice((1, 2, 3, 6, 7, 0x11, 0x31, 0x50, 0x55, 0xFF, 0x161, 0x2000, 0xFFFE, rng.randrange(1 << 16)))
    rate = rng.choice((0, 1, 8_000, 16_000, 44_100, 0xFFFFFFFF))
    channels, align, bits = (
        rng.choice((0, 1, 2, 8, 255, 65_535)),
        rng.choice((0, 1, 2, 4, 65_535)),
        rng.choice((0, 4, 8, 16, 24, 64)),
    )
    size = rng.choice((len(audio), *_LIES))
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, codec, channels, rate, rate * align & 0xFFFFFFFF, align, bits)
    return (
        b"RIFF"
        + struct.pack("<I", rng.choice((size, *_LIES)))
        + b"WAVE"
        + form
        + b"data"
        + struct.pack("<I", size)
        + audio
    )


def _nest_in_tag(rng: Random, audio: bytes, _files: Sequence[bytes]) -> bytes:
    """Behind an ID3 tag whose length is true or not."""
    length = rng.choice((0, 10, len(audio), 0x0FFFFFFF))
    digits = bytes(length >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\0\0" + digits + rng.choice((b"", b"TIT2\x7f\x7f\x7f\x7f\0\0", b"APIC" + bytes(6))) + audio


def _nest_in_mp4(rng: Random, audio: bytes, _files: Sequence[bytes]) -> bytes:
    """In boxes within boxes, the sizes of which may lie."""
    for _ in range(rng.choice((1, 3, 200))):
        size = rng.choice((len(audio) + 8, len(audio) + 8, 0, 1, 7, 0xFFFFFFFF))
        audio = struct.pack(">I", size) + rng.choice((b"moov", b"mdat", b"trak", b"udta", b"meta", b"moof")) + audio
    return b"\0\0\0\x14ftypisom\0\0\0\0isom" + audio


def _noise_with_magic(rng: Random, audio: bytes, _files: Sequence[bytes]) -> bytes:
    return audio[: rng.choice((4, 12, 44))] + rng.randbytes(rng.randrange(1, 20_000))


def _no_audio_at_all(rng: Random, audio: bytes, _files: Sequence[bytes]) -> bytes:
    texts = (
        b"",
        b"\0",
        b"RIFF",
        b"hello",
        b"<html>",
        b"PK\3\4" + audio,
        b"\x1f\x8b\x08" + audio,
        b"%PDF-1.7\n" + audio,
    )
    return rng.choice((*texts, b"#EXTM3U\nfile:///etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd\n"))


_OF_AUDIO: tuple[Callable[[Random, bytes, Sequence[bytes]], bytes], ...] = (
    _flip_header,
    _flip_anywhere,
    _flip_anywhere,
    _cut_off,
    _lose_the_start,
    _splice,
    _lie_in_header,
    _blank,
    _repeat,
    _wrong_magic,
    _nest_in_wav,
    _nest_in_tag,
    _nest_in_mp4,
    _noise_with_magic,
    _no_audio_at_all,
)
