"""Memory and processor time of a process together with all processes below it."""

import contextlib
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

_INTERVAL_S = 0.05
_RELIST_EVERY = 20
_GONE = (psutil.NoSuchProcess, psutil.AccessDenied)


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuSeconds:
    """Processor seconds used so far."""

    parent: float
    tree: float
    """Including the parent."""
    machine: float
    """By everything that runs on this machine."""

    def since(self, earlier: "CpuSeconds") -> "CpuSeconds":
        return CpuSeconds(
            parent=self.parent - earlier.parent,
            tree=self.tree - earlier.tree,
            machine=self.machine - earlier.machine,
        )


@dataclass(slots=True, kw_only=True)
class Peak:
    """Filled in when the watch ends."""

    sampled_mib: float = 0.0
    """Largest sum of resident sizes seen at one moment, 20 times a second."""
    high_water_mib: float | None = None
    """Sum of the kernel's own peaks of each process, an upper bound; Linux only."""


def tree_of(pid: int) -> list[psutil.Process]:
    """The process and all below it, the process first; empty where it has ended."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_seconds(pid: int) -> CpuSeconds:
    """Of the process, of its tree, and of the machine."""
    used: list[float] = []
    for process in tree_of(pid):
        with contextlib.suppress(*_GONE):
            times = process.cpu_times()
            used.append(times.user + times.system)
    machine = psutil.cpu_times()
    busy = sum(getattr(machine, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal"))
    return CpuSeconds(parent=used[0] if used else 0.0, tree=sum(used), machine=busy)


def resident_mib(processes: list[psutil.Process]) -> float:
    """Sum of the resident sizes; pages that two processes share count twice."""
    total = 0
    for process in processes:
        with contextlib.suppress(*_GONE):
            total += process.memory_info().rss
    return total / 2**20


@contextmanager
def watch_memory(pid: int) -> Generator[Peak]:
    """The peak of the tree while the block runs."""
    peak = Peak()
    _reset_high_water(pid)
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(pid, peak, ended), daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()
        peak.high_water_mib = _high_water_mib(pid)


def _watch(pid: int, peak: Peak, ended: threading.Event) -> None:
    processes: list[psutil.Process] = []
    turn = 0
    while not ended.is_set():
        if turn % _RELIST_EVERY == 0:  # listing costs far more than reading
            processes = tree_of(pid)
        peak.sampled_mib = max(peak.sampled_mib, resident_mib(processes))
        turn += 1
        time.sleep(_INTERVAL_S)


def _reset_high_water(pid: int) -> None:
    """Loading a model may have needed more than using it."""
    for process in tree_of(pid):
        with contextlib.suppress(OSError):
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def _high_water_mib(pid: int) -> float | None:
    total = 0.0
    for process in tree_of(pid):
        status = Path(f"/proc/{process.pid}/status")
        if not status.exists():
            return None
        lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        total += float(lines[0].split()[1]) / 1024 if lines else 0.0
    return total
