"""The audio of jobs: one file a job, under the job's id, in a folder that outlives the process."""

import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

_PLACE_FILE = ".place"
_YOUNG_S = 600.0
"""A file of no job may belong to one that is just being accepted, for so long."""


class AudioFolder:
    """Blocks; threads may share it, and processes may share the folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self._lock = threading.Lock()
        self._keepers: Counter[str] = Counter()
        self._unwanted: set[str] = set()

    def open(self) -> str:
        """Make the folder where it is not there; returns a name for it that no other folder has."""
        self.path.mkdir(parents=True, exist_ok=True)
        file = self.path / _PLACE_FILE
        if not file.exists():
            # Made apart and linked, so that of several processes one wins, and none reads half of a name.
            draft = self.path / f".{uuid4()}"
            draft.write_text(str(uuid4()))
            with suppress(FileExistsError):
                draft.rename(file) if os.name == "nt" else os.link(draft, file)
            draft.unlink(missing_ok=True)
        return file.read_text()

    def take(self, job_id: str, source: Path) -> None:
        """Have the bytes of ``source`` as the job's audio, safely on disk; the source stays. Raises OSError."""
        target = self.path / job_id
        target.unlink(missing_ok=True)
        try:
            os.link(source, target)
        except OSError:
            # On another file system, or one that has no links.
            shutil.copyfile(source, target)
        with target.open("rb+") as file:
            os.fsync(file.fileno())
        if os.name == "posix":
            folder = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def find(self, job_id: str) -> Path | None:
        """The job's audio, where it is here."""
        path = self.path / job_id
        return path if path.is_file() else None

    def keep(self, job_id: str) -> Callable[[], None]:
        """Have the audio outlive its removal, until what this returns is called, once."""
        with self._lock:
            self._keepers[job_id] += 1

        def release() -> None:
            with self._lock:
                self._keepers[job_id] -= 1
                if self._keepers[job_id]:
                    return
                del self._keepers[job_id]
                is_unwanted = job_id in self._unwanted
                self._unwanted.discard(job_id)
            if is_unwanted:
                self.remove(job_id)

        return release

    def remove(self, job_id: str) -> None:
        """Remove the job's audio, once nobody keeps it."""
        with self._lock:
            if self._keepers[job_id]:
                self._unwanted.add(job_id)
                return
            del self._keepers[job_id]
        (self.path / job_id).unlink(missing_ok=True)

    def sweep(self, need: Callable[[Collection[str]], Mapping[str, bool]]) -> None:
        """Remove what no job needs any more; ``need`` says it of the jobs that there are."""
        before = time.time() - _YOUNG_S
        names = [entry.name for entry in os.scandir(self.path) if entry.is_file() and not entry.name.startswith(".")]
        needed = need(names)
        for name in names:
            with suppress(FileNotFoundError):  # another process sweeps the same folder
                if not needed.get(name, (self.path / name).stat().st_ctime >= before):
                    self.remove(name)
