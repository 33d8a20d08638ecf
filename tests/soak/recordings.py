"""What is uploaded in a soak: samples, long files strung from them, and files that are none."""

import io
import random
import struct
import wave
import zlib
from pathlib import Path

SAMPLES = Path(__file__).parents[1] / "audio" / "samples"
CLIPS = {
    "01_en_slt": "en",
    "02_en_rms": "en",
    "03_en_heldout_voice_ked": "en",
    "04_de": "de",
    "05_fr": "fr",
    "06_es": "es",
    "07_en_human_digits": "en",
    "09_en_20s_layout": "en",
}
"""Short recordings and their languages."""
MINUTE = "08_en_60s"
LONG = {"long_150s": 150, "long_240s": 240}
"""Strung recordings and about how many seconds they last; all English."""

MAX_UPLOAD_MB = 12
MAX_AUDIO_S = 400
_RATE = 16_000


def good_files() -> dict[str, bytes]:
    """Everything that has a transcript, by name."""
    clips = {name: (SAMPLES / f"{name}.wav").read_bytes() for name in CLIPS}
    strung = {name: _string(seconds) for name, seconds in LONG.items()}
    return {**clips, **strung, MINUTE: (SAMPLES / f"{MINUTE}.flac").read_bytes()}


def bad_files() -> dict[str, tuple[bytes, int, str]]:
    """What cannot be transcribed, with the status and the code of the answer."""
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    return {
        "text": (b"This is a letter and no recording.\n" * 40, 415, "unsupported_audio"),
        "png": (_png(), 415, "unsupported_audio"),
        "m3u8": (playlist, 415, "unsupported_audio"),
        "empty": (b"", 400, "empty_audio"),
        "truncated": ((SAMPLES / "01_en_slt.wav").read_bytes()[:30], 400, "corrupt_audio"),
        "oversize": (bytes(MAX_UPLOAD_MB * 2**20 + 1), 413, "audio_too_large"),
        "too_long": (_wav(bytes(8_000 * (MAX_AUDIO_S + 20)), rate=8_000, width=1), 413, "audio_too_long"),
    }


def _string(seconds: int) -> bytes:
    """English clips in a random order that is always the same, with pauses between them."""
    order = random.Random(seconds)
    spoken = [_frames(f"{name}.wav") for name, language in CLIPS.items() if language == "en"]
    out = bytearray()
    while len(out) < seconds * _RATE * 2:
        out += order.choice(spoken) + bytes(2 * order.randrange(_RATE // 4, 2 * _RATE))
    return _wav(bytes(out), rate=_RATE, width=2)


def _frames(name: str) -> bytes:
    with wave.open(str(SAMPLES / name), "rb") as file:
        return file.readframes(file.getnframes())


def _wav(frames: bytes, *, rate: int, width: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(frames)
    return out.getvalue()


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(72))) + chunk(b"IEND", b"")
    )
