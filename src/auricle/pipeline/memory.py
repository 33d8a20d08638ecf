"""The main memory: that of the machine, or of the container where that is less; and what processes take of it."""

from functools import cache
from pathlib import Path

import psutil

# A container sees its own control group as the root (version 2).
_CGROUPS = Path("/sys/fs/cgroup")


def process_bytes(pid: int | None) -> int:
    """Resident memory of a process; 0 where there is none."""
    if pid is None:
        return 0
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0


@cache
def machine_bytes() -> int:
    """Main memory of the machine, or of the container where that is less."""
    total = psutil.virtual_memory().total
    return min(total, _read(_CGROUPS / "memory.max") or total)


def memory_percent(cgroups: Path = _CGROUPS) -> float:
    """Memory in use, in percent of what there is; caches that the system can drop count as free."""
    return max(float(psutil.virtual_memory().percent), _container_percent(cgroups))


def _container_percent(cgroups: Path) -> float:
    """0 outside of containers with a limit."""
    limit = _read(cgroups / "memory.max")
    used = _read(cgroups / "memory.current")
    if not limit or used is None:
        return 0.0
    # Files that were read or written and not touched since are the first to go: uploads would else count for hours.
    droppable = 0
    for line in _lines(cgroups / "memory.stat"):
        name, _, value = line.partition(" ")
        if name == "inactive_file" and value.isdigit():
            droppable = int(value)
    return 100.0 * max(0, used - droppable) / limit


def _read(path: Path) -> int | None:
    """None where there is no such file, or no limit in it (``max``)."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("ascii").splitlines()
    except OSError:
        return []
