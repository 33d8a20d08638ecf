"""Who speaks in a run, found out beside the decoding."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager

from auricle.errors import InvalidOption, UnsupportedOption
from auricle.pipeline.meter import Meter
from auricle.pipeline.reader import call_in_thread
from auricle.speaker_types import Diarization
from auricle.speakers.assign import assign_speakers
from auricle.speakers.base import Diarizer
from auricle.tokenizer import Tokenizer
from auricle.types import Clip, Samples, Segment, TranscribeOptions
from auricle.windows.clips import Clipper

MAX_SPEAKERS = 32
"""That can be asked for."""

MAX_KNOWN_SPEAKERS = 4

_EARS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="diarization")
"""Some diarizers take minutes for a file; the threads that all share would be taken by a few of them."""

MakeDiarizer = Callable[[], Diarizer]
"""A new one for each file; blocks."""


def check_diarization(asked: Diarization) -> Diarization:
    """What is asked for, if it can be met. Raises InvalidOption."""
    for name in ("num_speakers", "min_speakers", "max_speakers"):
        count: int | None = getattr(asked, name)
        if count is not None and not 1 <= count <= MAX_SPEAKERS:
            raise InvalidOption(f"{name} is {count}; it must be 1 to {MAX_SPEAKERS}.", param=name)
    low, high = asked.min_speakers, asked.max_speakers
    if asked.num_speakers is not None and (low, high) != (None, None):
        raise InvalidOption(
            "num_speakers tells the number of speakers; leave out min_speakers and max_speakers.", param="num_speakers"
        )
    if low is not None and high is not None and low > high:
        raise InvalidOption(f"min_speakers is {low}, which is more than max_speakers, {high}.", param="min_speakers")
    return asked


@asynccontextmanager
async def listening(
    make: MakeDiarizer | None, options: TranscribeOptions, meter: Meter
) -> "AsyncGenerator[Listener | None]":
    """Who hears the clips of a run; None where nobody asks who speaks.

    Raises UnsupportedOption where it is asked, and there is no diarizer.
    """
    if options.diarization is None:
        yield None
        return
    if make is None:
        raise UnsupportedOption("Speakers are not told apart here: AURICLE_DIARIZATION is off.", param="diarize")
    listener = Listener(await asyncio.to_thread(make), options.diarization, meter)
    try:
        yield listener
    finally:
        await listener.close()


class Listener:
    """Feeds one diarizer, in a thread: it hears a clip while the next one is read and others are decoded.

    Holds no more than that one clip.
    """

    def __init__(self, diarizer: Diarizer, asked: Diarization, meter: Meter) -> None:
        self._diarizer = diarizer
        self._asked = asked
        self._meter = meter
        self._hearing: asyncio.Task[None] | None = None

    async def clips(self, clips: AsyncGenerator[Clip, None]) -> AsyncGenerator[Clip, None]:
        """The clips, which are heard in passing."""
        async with aclosing(clips):
            async for clip in clips:
                await self._hear(clip)
                yield clip

    async def blocks(self, blocks: AsyncGenerator[Samples, None], clipper: Clipper) -> AsyncGenerator[Samples, None]:
        """The blocks of a run without clips; those that ``clipper`` makes of them are heard in passing."""
        async with aclosing(blocks):
            async for block in blocks:
                for clip in await call_in_thread(self._meter.add_vad, clipper.feed, block):
                    await self._hear(clip)
                yield block
            for clip in await call_in_thread(self._meter.add_vad, clipper.finish):
                await self._hear(clip)

    async def assign(self, segments: Sequence[Segment], tokenizer: Tokenizer) -> list[Segment]:
        """All segments of the run with their speakers, cut where the speaker changes; nothing is heard any more."""
        await self._heard()
        return await call_in_thread(self._meter.add_diarization, self._assign, segments, tokenizer, pool=_EARS)

    async def close(self) -> None:
        """Nobody waits for what is being heard; its thread ends by itself."""
        if self._hearing is not None:
            self._hearing.cancel()
            await asyncio.wait([self._hearing])

    async def _hear(self, clip: Clip) -> None:
        await self._heard()
        hearing = call_in_thread(self._meter.add_diarization, self._diarizer.feed, clip, pool=_EARS)
        self._hearing = asyncio.create_task(hearing)
        # Where the run ends before the clip is heard, nobody else asks whether that failed.
        self._hearing.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _heard(self) -> None:
        if self._hearing is not None:
            await self._hearing

    def _assign(self, segments: Sequence[Segment], tokenizer: Tokenizer) -> list[Segment]:
        return assign_speakers(segments, self._diarizer.finish(self._asked), tokenizer.token_bytes)
