"""The store of transcripts for an event loop: it works in threads of its own, and its failure stops nobody."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from auricle.store.unavailable import StoreUnavailable
from auricle.types import Transcript

logger = logging.getLogger("auricle.reuse")

T = TypeVar("T")

_PAUSE_S = 60.0
"""After a failure the store is left alone for so long."""


class Store(Protocol):
    """What is asked of ``store.transcripts.TranscriptStore``; blocks, raises StoreUnavailable."""

    @property
    def size_bytes(self) -> int: ...
    def get(self, key: str, *, words: bool, logprobs: bool) -> Transcript | None: ...
    def put(self, key: str, transcript: Transcript, *, words: bool, logprobs: bool) -> None: ...
    def close(self) -> None: ...


OpenStore = Callable[[], Store | None]
"""Opens the store, or prepares for having none; blocks, raises StoreUnavailable."""


class ResultCache:
    """Finds nothing and keeps nothing where the store does not work; says so once. Belongs to one event loop."""

    def __init__(self, open_store: OpenStore) -> None:
        self._open_store = open_store
        # Not asyncio's threads: a lookup must not wait for the decoding of audio.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="auricle-store")
        self._opening: asyncio.Task[Store | None] | None = None
        self._silent_until = 0.0
        self._has_warned = False
        self._is_failing = False

    @property
    def size_bytes(self) -> int:
        """What the kept transcripts take."""
        store = self._opened()
        return store.size_bytes if store else 0

    def start(self) -> None:
        """Open the store in the background; the first lookup would do it too."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())

    async def get(self, key: str, *, words: bool, logprobs: bool) -> Transcript | None:
        """The transcript kept under ``key``, if it has what is asked for."""
        store = await self._ready()
        if store is None:
            return None
        return await self._try(lambda: store.get(key, words=words, logprobs=logprobs))

    async def put(self, key: str, transcript: Transcript, *, words: bool, logprobs: bool) -> None:
        """Keep the transcript."""
        store = await self._ready()
        if store is not None:
            await self._try(lambda: store.put(key, transcript, words=words, logprobs=logprobs))

    async def close(self) -> None:
        """Write what is still to be written."""
        if self._opening is not None:
            store = await self._ready(even_if_silent=True)
            if store is not None:
                await self._try(store.close)
        self._threads.shutdown(wait=False)

    async def _ready(self, *, even_if_silent: bool = False) -> Store | None:
        if time.monotonic() < self._silent_until and not even_if_silent:
            return None
        self.start()
        opening = self._opening
        # Shielded: one request that leaves must not end the opening for the others.
        return None if opening is None else await asyncio.shield(opening)

    async def _open(self) -> Store | None:
        store = await self._try(self._open_store)
        if self._is_failing:
            self._opening = None  # to be tried again after the pause
        return store

    async def _try(self, call: Callable[[], T]) -> T | None:
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except StoreUnavailable as exc:
            self._is_failing = True
            self._silent_until = time.monotonic() + _PAUSE_S
            level = logging.DEBUG if self._has_warned else logging.WARNING
            self._has_warned = True
            logger.log(level, "results are not kept, transcription goes on: %s", exc)
            return None
        self._is_failing = False
        return result

    def _opened(self) -> Store | None:
        opening = self._opening
        return opening.result() if opening is not None and opening.done() and not opening.cancelled() else None
