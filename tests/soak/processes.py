"""The server's processes as the system sees them."""

import contextlib
import os
import signal

import psutil

_GONE = (psutil.NoSuchProcess, psutil.ZombieProcess)


class Processes:
    """The tree below the server, and all that were ever seen in it and are not known to be gone."""

    def __init__(self, pid: int) -> None:
        self.server = psutil.Process(pid)
        self._seen: dict[int, psutil.Process] = {}

    def children(self) -> list[psutil.Process]:
        """Those that are there now, zombies included."""
        found = self.server.children(recursive=True)
        self._seen = {pid: one for pid, one in self._seen.items() if one.is_running()} | {one.pid: one for one in found}
        return found

    def engines(self) -> list[psutil.Process]:
        """Engine processes that live, the oldest first."""
        found: list[psutil.Process] = []
        for child in self.children():
            with contextlib.suppress(*_GONE):
                if "auricle.engines.worker" in child.cmdline():
                    found.append(child)
        return sorted(found, key=lambda one: one.create_time())

    def zombies(self) -> list[int]:
        """Children that have ended and that nobody has waited for."""
        found: list[int] = []
        for child in self.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.status() == psutil.STATUS_ZOMBIE:
                    found.append(child.pid)
        return found

    def left_over(self) -> list[int]:
        """Of all that were ever seen, those that still are."""
        return [one.pid for one in self._seen.values() if one.is_running()]


def resident_mib(process: psutil.Process) -> float:
    """0 where it has ended."""
    with contextlib.suppress(*_GONE):
        return process.memory_info().rss / 2**20
    return 0.0


def kill_9(process: psutil.Process) -> None:
    """End it as the kernel does when memory is short."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
