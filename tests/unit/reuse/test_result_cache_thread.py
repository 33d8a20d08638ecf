"""The cache around a store that works, or does not."""

import asyncio
import logging
import threading

import pytest

from auricle.reuse import result_cache
from auricle.reuse.result_cache import ResultCache
from auricle.store.unavailable import StoreUnavailable
from auricle.types import Transcript

HELLO = Transcript(text="hello", segments=(), language="en", duration=1.0)
ASKED = {"words": False, "logprobs": False}


class MemoryStore:
    """Fails as long as ``is_broken``; notes which threads came."""

    def __init__(self, *, is_broken: bool = False) -> None:
        self.kept: dict[str, Transcript] = {}
        self.is_broken = is_broken
        self.is_closed = False
        self.opened = 0
        self.threads: set[str] = set()

    def open(self) -> "MemoryStore":
        self.opened += 1
        self._check()
        return self

    @property
    def size_bytes(self) -> int:
        return len(self.kept)

    def get(self, key: str, *, words: bool, logprobs: bool) -> Transcript | None:
        self._check()
        return self.kept.get(key)

    def put(self, key: str, transcript: Transcript, *, words: bool, logprobs: bool) -> None:
        self._check()
        self.kept[key] = transcript

    def close(self) -> None:
        self._check()
        self.is_closed = True

    def _check(self) -> None:
        self.threads.add(threading.current_thread().name)
        if self.is_broken:
            raise StoreUnavailable("the disk is full")


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_what_is_put_can_be_got_and_no_call_blocks_the_loop() -> None:
    store = MemoryStore()
    cache = ResultCache(store.open)
    assert await cache.get("k", **ASKED) is None
    await cache.put("k", HELLO, **ASKED)
    assert await cache.get("k", **ASKED) == HELLO
    assert cache.size_bytes == 1
    await cache.close()
    assert store.is_closed
    assert store.opened == 1
    assert all(name.startswith("auricle-store") for name in store.threads)


async def test_requests_at_once_open_the_store_once() -> None:
    store = MemoryStore()
    cache = ResultCache(store.open)
    cache.start()
    await asyncio.gather(*(cache.get("k", **ASKED) for _ in range(5)))
    assert store.opened == 1
    await cache.close()


async def test_a_store_that_cannot_be_opened_is_said_once_and_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore(is_broken=True)
    cache = ResultCache(store.open)
    for _ in range(3):
        await cache.put("k", HELLO, **ASKED)
        assert await cache.get("k", **ASKED) is None
    await cache.close()
    assert store.opened == 1
    assert warnings(caplog) == ["results are not kept, transcription goes on: the disk is full"]


async def test_a_store_that_works_again_is_used_again_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_cache, "_PAUSE_S", 0.0)
    store = MemoryStore(is_broken=True)
    cache = ResultCache(store.open)
    await cache.put("k", HELLO, **ASKED)
    store.is_broken = False
    await cache.put("k", HELLO, **ASKED)
    assert await cache.get("k", **ASKED) == HELLO
    await cache.close()


async def test_a_store_that_fails_later_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    cache = ResultCache(store.open)
    await cache.put("k", HELLO, **ASKED)
    store.is_broken = True
    assert await cache.get("k", **ASKED) is None
    await cache.put("k", HELLO, **ASKED)
    await cache.close()
    assert len(warnings(caplog)) == 1


async def test_without_a_store_nothing_is_found() -> None:
    cache = ResultCache(lambda: None)
    await cache.put("k", HELLO, **ASKED)
    assert await cache.get("k", **ASKED) is None
    assert cache.size_bytes == 0
    await cache.close()


async def test_one_that_leaves_does_not_end_the_opening() -> None:
    may_open = threading.Event()
    store = MemoryStore()

    def open_slowly() -> MemoryStore:
        may_open.wait(10)
        return store.open()

    cache = ResultCache(open_slowly)
    leaving = asyncio.create_task(cache.get("k", **ASKED))
    staying = asyncio.create_task(cache.get("k", **ASKED))
    await asyncio.sleep(0)
    leaving.cancel()
    may_open.set()
    assert await staying is None
    assert leaving.cancelled()
    await cache.close()
