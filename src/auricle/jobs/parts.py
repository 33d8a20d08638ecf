"""Finished clips on their way into the store, and back."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter, ValidationError

from auricle.pipeline.checkpoint import ClipResult
from auricle.store.unavailable import StoreUnavailable

SAVE_EVERY_S = 0.5
"""Clips that finish sooner after one another than this are saved together."""

_RESULT = TypeAdapter(ClipResult)

Part = tuple[int, ClipResult]


def pack_parts(parts: Sequence[Part]) -> list[tuple[int, bytes]]:
    """As they are kept."""
    return [(number, zlib.compress(_RESULT.dump_json(result))) for number, result in parts]


def unpack_parts(bodies: Mapping[int, bytes]) -> dict[int, ClipResult]:
    """The results; what cannot be read is left out, and will be done again."""
    parts: dict[int, ClipResult] = {}
    for number, body in bodies.items():
        with suppress(zlib.error, ValidationError):
            parts[number] = _RESULT.validate_json(zlib.decompress(body))
    return parts


class PartSaver:
    """Saves what it is given behind the run's back; the context ends when all is saved, or cannot be.

    ``save`` raises StoreUnavailable where it could not; then it is tried again with what follows.
    """

    def __init__(self, save: Callable[[Sequence[Part]], Awaitable[object]]) -> None:
        self._save = save
        self._waiting: list[Part] = []
        self._has_news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, number: int, result: ClipResult) -> None:
        """A clip is finished."""
        self._waiting.append((number, result))
        self._has_news.set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        # A run that ended well has its result, which takes the place of its parts.
        if kind is not None:
            with suppress(StoreUnavailable):
                await self._flush()

    async def _run(self) -> None:
        while True:
            await self._has_news.wait()
            self._has_news.clear()
            try:
                await self._flush()
            except StoreUnavailable:
                self._has_news.set()
            await asyncio.sleep(SAVE_EVERY_S)

    async def _flush(self) -> None:
        parts = list(self._waiting)
        if parts:
            await self._save(parts)
            # Only now: a save that is broken off is made up for by the next one, which may write a part again.
            del self._waiting[: len(parts)]
