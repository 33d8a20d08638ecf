"""Decoded audio as an async stream: blocks are read in a thread, and only what is still needed is kept."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Executor
from time import perf_counter
from typing import TypeVar

import numpy as np

from auricle.pipeline.meter import Meter
from auricle.types import Samples

T = TypeVar("T")

_EMPTY: Samples = np.zeros(0, np.float32)


async def read_blocks(blocks: Generator[Samples], meter: Meter) -> AsyncGenerator[Samples, None]:
    """The blocks of ``decode_audio``, each decoded in a worker thread; counts the samples in ``meter``.

    The generator is closed (and with it the file) when the reading ends, for whatever reason.
    """
    running: asyncio.Task[Samples | None] | None = None
    try:
        while True:
            started = perf_counter()
            running = asyncio.ensure_future(asyncio.to_thread(next, blocks, None))
            # Where the request ends before the block does, nobody else asks whether it failed.
            running.add_done_callback(lambda done: done.cancelled() or done.exception())
            # A thread cannot be cancelled: wait for its block before the generator is closed.
            block = await asyncio.shield(running)
            meter.add_decode(perf_counter() - started)
            if block is None:
                return
            meter.samples += block.shape[-1]
            yield block
    finally:
        if running is not None and not running.done():
            await asyncio.wait([running])
        blocks.close()


async def call_in_thread(
    meter_add: Callable[[float], None], function: Callable[..., T], *args: object, pool: Executor | None = None
) -> T:
    """``function`` in a worker thread, of ``pool`` or of those that all share; its seconds go to ``meter_add``."""
    started = perf_counter()
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, function, *args)
    finally:
        meter_add(perf_counter() - started)


class RollingAudio:
    """The part of a file that the sequential mode still needs, read on demand."""

    def __init__(self, blocks: AsyncGenerator[Samples, None]) -> None:
        self._blocks = blocks
        self._kept: Samples = _EMPTY
        self._start = 0
        self._ended = False

    async def read(self, position: int, count: int, margin: int) -> tuple[Samples, Samples, Samples]:
        """Up to ``count`` samples from ``position``, with up to ``margin`` samples before and behind them.

        Samples more than ``margin`` before ``position`` are forgotten.
        """
        await self._fill(position - margin, position + count + margin)
        self._forget(position - margin)
        first = position - self._start
        last = min(first + count, len(self._kept))
        before = self._kept[max(0, first - margin) : first]
        return before, self._kept[first:last], self._kept[last : last + margin]

    async def _fill(self, start: int, end: int) -> None:
        parts = [self._kept]
        have = self._start + len(self._kept)
        while have < end and not self._ended:
            block = await anext(self._blocks, None)
            if block is None:
                self._ended = True
                break
            have += len(block)
            if have <= start:
                # Far before what is asked for: a run that goes on in the middle of a file does not keep its beginning.
                parts, self._start = [_EMPTY], have
            else:
                parts.append(block)
        self._kept = np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _forget(self, position: int) -> None:
        surplus = position - self._start
        if surplus > 0:
            self._kept = self._kept[surplus:].copy()
            self._start = position
