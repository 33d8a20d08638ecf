"""Work on many things at once, answers in the order of the things."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def map_in_order(
    source: AsyncIterator[T], work: Callable[[T], Awaitable[R]], *, limit: int
) -> AsyncGenerator[R, None]:
    """``work(item)`` for every item, at most ``limit`` at a time; results in the order of the items.

    ``source`` is read only while fewer than ``limit`` items are being worked on. The first error (of the source too)
    is raised in its turn and ends all other work; so does closing the generator.
    """
    slots = asyncio.Semaphore(limit)
    tasks: asyncio.Queue[asyncio.Task[R] | None] = asyncio.Queue()
    started: set[asyncio.Task[R]] = set()

    async def run(item: T) -> R:
        try:
            return await work(item)
        finally:
            slots.release()

    async def pump() -> None:
        try:
            await slots.acquire()
            async for item in source:
                task = asyncio.create_task(run(item))
                started.add(task)
                tasks.put_nowait(task)
                await slots.acquire()
        finally:
            tasks.put_nowait(None)

    pumping = asyncio.create_task(pump())
    try:
        while (task := await tasks.get()) is not None:
            yield await task
            started.discard(task)
        await pumping
    finally:
        for task in (pumping, *started):
            task.cancel()
        await asyncio.gather(pumping, *started, return_exceptions=True)
