"""Recordings for jobs, strung from samples; no two files are the same, so that no result is that of another job."""

import itertools
import struct
import wave
from collections.abc import Iterable

import numpy as np

from auricle.audio.decode import decode_audio
from samples import SAMPLES

RATE = 16_000
FIELDS = {
    "language": "en",
    "beam_size": "1",
    # Keeps the temperature ladder away, whose texts are drawn by chance.
    "logprob_threshold": "-50",
    "compression_ratio_threshold": "50",
}
"""With them a recording always gives the same text."""
_PAUSE = bytes(2 * RATE)


def mixed_recordings() -> dict[str, bytes]:
    """By name: from two seconds to two and a half minutes."""
    clip, digits, twenty = (_frames(name) for name in ("01_en_slt", "07_en_human_digits", "09_en_20s_layout"))
    minute = _minute()
    parts = (minute, twenty, minute, clip)
    return {"clip": clip, "digits": digits, "twenty": twenty, "minute": minute, "long": _PAUSE.join(parts)}


def recording_of(number: int) -> str:
    """The name of the recording that job ``number`` gets: most of them are short, each tenth is long."""
    names = ("twenty", "long", *("clip", "digits") * 3, "minute", "clip")
    return names[number % len(names)]


def long_frames(minutes: int) -> bytes:
    """So many minutes of different speech with pauses."""
    parts = [_minute(), *(_frames(name) for name in ("09_en_20s_layout", "01_en_slt", "02_en_rms"))]
    return _string(itertools.cycle(parts), minutes * 60 * RATE * 2)


def wav_file(frames: bytes, mark: int = 0) -> bytes:
    """A WAV file of 16 kHz mono; files with another ``mark`` differ, and sound the same."""
    body = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    body += b"junk" + struct.pack("<II", 4, mark) + b"data" + struct.pack("<I", len(frames)) + frames
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _string(parts: Iterable[bytes], size: int) -> bytes:
    out = bytearray()
    for part in parts:
        out += part + _PAUSE
        if len(out) >= size:
            break
    return bytes(out[:size])


def _frames(name: str) -> bytes:
    with wave.open(str(SAMPLES / f"{name}.wav"), "rb") as file:
        return file.readframes(file.getnframes())


def _minute() -> bytes:
    samples = np.concatenate(list(decode_audio(SAMPLES / "08_en_60s.flac")))
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
