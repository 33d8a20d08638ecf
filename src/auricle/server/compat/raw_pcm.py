"""Samples without a header, as some clients send them: 16 bit, mono, 16 kHz, made into a wav file."""

import asyncio
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from auricle.audio.fetch import MIB, BoundedFile
from auricle.server.sniff import HEAD_BYTES, sniff_format
from auricle.server.uploads import AudioSource
from auricle.units import SAMPLE_RATE

_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")


@asynccontextmanager
async def with_header(audio: AudioSource, folder: Path) -> AsyncGenerator[AudioSource]:
    """``audio`` as a wav file in ``folder``, removed at the end; as it is where it has a header of some kind."""
    if await asyncio.to_thread(_has_header, audio.path):
        yield audio
        return
    with BoundedFile(folder, max_bytes=audio.size + _HEADER.size) as file:
        await asyncio.to_thread(_copy, audio, file)
        yield file


def _has_header(path: Path) -> bool:
    with path.open("rb") as file:
        return sniff_format(file.read(HEAD_BYTES)) is not None


def _copy(audio: AudioSource, file: BoundedFile) -> None:
    # The header holds sizes below 4 GiB: 37 hours.
    size = min(audio.size - audio.size % 2, 0xFFFFFFFF - _HEADER.size)
    form = (b"fmt ", 16, 1, 1, SAMPLE_RATE, 2 * SAMPLE_RATE, 2, 16)
    file.write(_HEADER.pack(b"RIFF", size + _HEADER.size - 8, b"WAVE", *form, b"data", size))
    with audio.path.open("rb") as source:
        while block := source.read(MIB):
            file.write(block)
    file.finish()
