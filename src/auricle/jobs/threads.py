"""The stores of jobs for an event loop: they work in threads of their own."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from auricle.store.opening import JobStores  # SQLAlchemy takes a third of a second to import

T = TypeVar("T")

_READERS = 2


class StoreThreads:
    """Opens the stores with the first call, and again where that failed; calls raise StoreUnavailable then.

    One thread writes, so that what is written later comes later, and no writer of this process waits for another's
    lock. A caller that is cancelled does not undo what is on its way.
    """

    def __init__(self, open_stores: "Callable[[], JobStores]") -> None:
        self._open_stores = open_stores
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="auricle-jobs-write")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="auricle-jobs-read")
        self._lock = threading.Lock()
        self._stores: JobStores | None = None

    async def read(self, call: "Callable[[JobStores], T]") -> T:
        """What ``call`` reads."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._call, call)

    async def write(self, call: "Callable[[JobStores], T]") -> T:
        """What ``call`` returns, which has the database to itself as far as this process goes."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._call, call)

    async def close(self) -> None:
        """Let what has begun end, and close the stores."""
        await asyncio.to_thread(self._close)

    def _call(self, call: "Callable[[JobStores], T]") -> T:
        with self._lock:
            if self._stores is None:
                self._stores = self._open_stores()
            stores = self._stores
        return call(stores)

    def _close(self) -> None:
        self._writer.shutdown()
        self._readers.shutdown()
        if self._stores is not None:
            self._stores.jobs.close()
