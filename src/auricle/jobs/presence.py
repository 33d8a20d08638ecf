"""Which processes live: each holds a lock on a file of its own, which its end releases, whatever ended it."""

from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout


class Presence:
    """The sign of life of this process, and the look at those of others that share the folder. Blocks shortly."""

    def __init__(self, folder: Path) -> None:
        self.name = uuid4().hex
        self._folder = folder
        self._lock = self._lock_of(self.name)
        self._dead: set[str] = set()

    def begin(self) -> None:
        """Be seen as alive until ``end``. Raises OSError."""
        self._lock.acquire()

    def end(self) -> None:
        """Be gone."""
        self._lock.release()
        self._file_of(self.name).unlink(missing_ok=True)

    def is_dead(self, name: str) -> bool:
        """Whether the process of this name has been here and is no more; False where that cannot be known."""
        if name in self._dead:
            return True
        file = self._file_of(name)
        if not file.exists():
            return False
        lock = self._lock_of(name)
        try:
            lock.acquire()
        except Timeout:
            return False
        lock.release()
        file.unlink(missing_ok=True)
        self._dead.add(name)
        return True

    def _file_of(self, name: str) -> Path:
        return self._folder / f".runner-{name}"

    def _lock_of(self, name: str) -> FileLock:
        return FileLock(self._file_of(name), timeout=0, thread_local=False)
