import asyncio
import threading
from collections.abc import Generator

import numpy as np
import pytest

from auricle.errors import CorruptAudio
from auricle.pipeline.meter import Meter
from auricle.pipeline.reader import RollingAudio, read_blocks
from auricle.types import Samples


def ramp(count: int, size: int) -> Generator[Samples, None, None]:
    for index in range(count):
        yield np.arange(index * size, (index + 1) * size, dtype=np.float32)


async def test_the_rolling_audio_gives_any_range_with_its_neighbours():
    audio = RollingAudio(read_blocks(ramp(10, 100), Meter()))
    before, samples, after = await audio.read(0, 250, 20)
    assert (before.tolist(), samples.tolist(), after.tolist()) == ([], list(range(250)), list(range(250, 270)))
    before, samples, after = await audio.read(430, 100, 20)
    assert (before.tolist(), samples[[0, -1]].tolist(), after[0]) == (list(range(410, 430)), [430, 529], 530)


async def test_the_end_of_the_file_gives_what_is_left_and_then_nothing():
    audio = RollingAudio(read_blocks(ramp(2, 100), Meter()))
    _, samples, after = await audio.read(150, 100, 20)
    assert (len(samples), len(after)) == (50, 0)
    _, samples, _ = await audio.read(200, 100, 20)
    assert len(samples) == 0


async def test_audio_that_is_no_longer_needed_is_forgotten():
    audio = RollingAudio(read_blocks(ramp(1000, 100), Meter()))
    for position in range(0, 99_000, 100):
        await audio.read(position, 100, 20)
        assert len(audio._kept) < 1000


async def test_the_file_is_closed_when_reading_is_cancelled_in_the_middle_of_a_block():
    reached, release, closed = threading.Event(), threading.Event(), threading.Event()

    def slow() -> Generator[Samples, None, None]:
        try:
            reached.set()
            release.wait(10)
            yield np.zeros(1, np.float32)
        finally:
            closed.set()

    async def read() -> None:
        async for _ in read_blocks(slow(), Meter()):
            pass

    task = asyncio.create_task(read())
    await asyncio.to_thread(reached.wait, 10)
    task.cancel()
    await asyncio.sleep(0.01)
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed.is_set()


async def test_an_error_of_the_decoder_reaches_the_reader_and_samples_are_counted():
    def broken() -> Generator[Samples, None, None]:
        yield np.zeros(40, np.float32)
        raise CorruptAudio("broken")

    meter = Meter()
    with pytest.raises(CorruptAudio):
        async for _ in read_blocks(broken(), meter):
            pass
    assert meter.samples == 40
