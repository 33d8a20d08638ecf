"""What ``auricle bench`` sends to a server, and the figures it takes."""

import asyncio
import io
import random
import statistics
import time
import wave
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache

import httpx
import numpy as np

from auricle.audio.decode import decode_audio
from auricle.cli.remote import read_error
from auricle.cli.samples import list_samples
from auricle.errors import Busy, InvalidOption
from auricle.types import Samples
from auricle.units import SAMPLE_RATE, seconds_to_samples

CLIP_S = 5.0
LEVELS = (1, 4, 8)
FILE_S = (30.0, 600.0)
"""Shortest and longest file; it is as long as fits into the time."""

_PAUSE_S = 0.5
_LEAST_CLIPS = 3
_CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSpeed:
    """One file on an idle server."""

    audio_s: float
    elapsed_s: float

    @property
    def rtfx(self) -> float:
        return self.audio_s / self.elapsed_s


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSpeed:
    """Clips from so many clients at once."""

    clients: int
    clips: int
    p50_s: float
    slowest_s: float
    rtfx: float
    """Audio of all clients together per second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """All figures of a run."""

    file: FileSpeed
    clips: tuple[ClipSpeed, ...]


async def measure_speed(
    url: str, *, api_key: str, model: str | None, seconds: float, report: Callable[[str], None]
) -> Speed:
    """Measure the server at ``url`` for about ``seconds``, after a warm-up; without a key where that is empty.

    Nothing is answered from its cache. Raises what the server answers where a request fails, Busy where nobody answers.
    """
    form = {"model": model or "whisper-1"}
    async with _open(url, api_key) as client:
        report("warming up")
        await _ask(client, form, recording(CLIP_S, seed=0))
        probe = await _time_file(client, form, FILE_S[0])
        # A quarter of the time for the file, the rest for the clips.
        audio_s = min(max(FILE_S[0], probe.rtfx * seconds / 4), FILE_S[1])
        report(f"one file of {audio_s:.0f} s")
        file = await _time_file(client, form, audio_s)
        clips: list[ClipSpeed] = []
        for clients in LEVELS:
            report(f"clips of {CLIP_S:g} s, {clients} at once")
            clips.append(await _time_clips(client, form, clients, seconds / 4))
    return Speed(file=file, clips=tuple(clips))


def recording(seconds: float, *, seed: int) -> bytes:
    """A WAV file of the package's examples in random order with pauses, cut to ``seconds``; a seed gives always the
    same."""
    rng = random.Random(seed)  # noqa: S311  no secret
    parts: list[Samples] = []
    left = seconds_to_samples(seconds)
    for part in _speech(rng):
        parts.append(part[:left])
        left -= parts[-1].size
        if left == 0:
            break
    pcm = np.rint(np.clip(np.concatenate(parts), -1, 1) * 32767).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(pcm.tobytes())
    return file.getvalue()


@cache
def _examples() -> tuple[Samples, ...]:
    return tuple(np.concatenate(list(decode_audio(sample.path))) for sample in list_samples())


def _speech(rng: random.Random) -> Iterator[Samples]:
    samples = _examples()
    # From somewhere in the middle on, so that clips differ from their first second on.
    first = rng.choice(samples)
    yield first[rng.randrange(first.size // 2) :]
    while True:
        for part in rng.sample(samples, len(samples)):
            yield np.zeros(seconds_to_samples(_PAUSE_S), np.float32)
            yield part


@asynccontextmanager
async def _open(url: str, api_key: str) -> AsyncGenerator[httpx.AsyncClient]:
    base = url.rstrip("/").removesuffix("/v1")
    timeout = httpx.Timeout(None, connect=_CONNECT_TIMEOUT_S)
    headers = {"cache-control": "no-store"} | ({"authorization": f"Bearer {api_key}"} if api_key else {})
    try:
        async with httpx.AsyncClient(base_url=base, timeout=timeout, headers=headers) as client:
            yield client
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise InvalidOption(f"--server {url!r}: {error}", param="server") from error
    except httpx.TransportError as error:
        raise Busy(f"no answer from {base}: {error or type(error).__name__}") from error


async def _ask(client: httpx.AsyncClient, form: dict[str, str], body: bytes) -> float:
    start = time.perf_counter()
    answer = await client.post("/v1/audio/transcriptions", data=form, files={"file": ("bench.wav", body)})
    if not answer.is_success:
        raise read_error(answer)
    return time.perf_counter() - start


async def _time_file(client: httpx.AsyncClient, form: dict[str, str], audio_s: float) -> FileSpeed:
    body = await asyncio.to_thread(recording, audio_s, seed=1)
    return FileSpeed(audio_s=audio_s, elapsed_s=await _ask(client, form, body))


async def _time_clips(client: httpx.AsyncClient, form: dict[str, str], clients: int, seconds: float) -> ClipSpeed:
    """New clips until the time is over; those that have begun are finished and count."""
    bodies = [await asyncio.to_thread(recording, CLIP_S, seed=100 * clients + number) for number in range(16)]
    taken: list[float] = []
    start = time.perf_counter()

    async def ask_again_and_again(first: int) -> None:
        number = first
        while number < clients * _LEAST_CLIPS or time.perf_counter() - start < seconds:
            taken.append(await _ask(client, form, bodies[number % len(bodies)]))
            number += clients

    tasks = [asyncio.create_task(ask_again_and_again(first)) for first in range(clients)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    return ClipSpeed(
        clients=clients,
        clips=len(taken),
        p50_s=statistics.median(taken),
        slowest_s=max(taken),
        rtfx=len(taken) * CLIP_S / (time.perf_counter() - start),
    )
