"""What must be true when the load is over, and when the server has been told to end."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.integration.live_server import LiveServer
from tests.soak.processes import Processes
from tests.soak.tally import Tally

_QUIET_S = 60.0
_END_S = 60.0
_SPARE_FDS = 32
"""More open files than before the load: connections that idle, the cache's database, another engine's pipes."""
_COUNTERS = (
    "auricle_windows_total",
    "auricle_engine_restarts_total",
    "auricle_cache_hits_total",
    "auricle_cache_misses_total",
    "auricle_joined_total",
    "auricle_audio_seconds_total",
    "auricle_fallbacks_total",
)


def check_quiet(server: LiveServer, processes: Processes, tally: Tally, *, fds_before: int) -> dict[str, float]:
    """All work has ended and left nothing behind; gives the server's own counters."""
    gauges = ("auricle_requests_in_progress", "auricle_queue_rows", "auricle_queued_audio_seconds")
    conditions: dict[str, Callable[[], object]] = {
        **{f"{name} is not 0": lambda name=name: server.metric(name) for name in gauges},
        "there are files in uploads": lambda: [path.name for path in server.uploads()],
        "there is audio of jobs": lambda: [
            path.name for path in (server.folder / "jobs").iterdir() if not path.name.startswith(".")
        ],
        "there are temporary files": lambda: [path.name for path in (server.folder / "tmp").iterdir()],
        "there are zombies": processes.zombies,
        "there are more open files": lambda: max(0, processes.server.num_fds() - fds_before - _SPARE_FDS),
        "there are more engines than models": lambda: max(
            0.0, len(processes.engines()) - server.metric("auricle_models_loaded")
        ),
        "there were more restarts than kills": lambda: max(
            0.0, server.metric("auricle_engine_restarts_total") - tally.counts["kills"]
        ),
    }
    end = time.monotonic() + _QUIET_S
    while conditions and time.monotonic() < end:
        conditions = {name: wrong for name, wrong in conditions.items() if wrong()}
        time.sleep(0.5)
    for name, wrong in conditions.items():
        tally.find(f"{_QUIET_S:g} s after the load {name}", value=wrong())
    return {name: server.metric(name) for name in _COUNTERS}


def check_stopped(server: LiveServer, processes: Processes, tally: Tally) -> None:
    """SIGTERM ends the server with status 0, and all of its processes with it."""
    processes.children()
    server.process.send_signal(signal.SIGTERM)
    try:
        status = server.process.wait(_END_S)
    except subprocess.TimeoutExpired:
        tally.find(f"the server did not end within {_END_S:g} s of SIGTERM")
        return
    if status != 0:
        tally.find(f"the server ended with status {status}")
    time.sleep(1.0)
    if left := processes.left_over():
        tally.find("processes outlived the server", pids=left)
    if uploads := server.uploads():
        tally.find("files outlived the server", files=[path.name for path in uploads])


def check_log(log: Path, tally: Tally) -> dict[str, int]:
    """No line tells of an exception that nobody expected; gives the number of lines by level."""
    levels: dict[str, int] = {}
    with log.open(encoding="utf-8", errors="replace") as lines:
        for text in lines:
            level = _level(text)
            levels[level] = levels.get(level, 0) + 1
            if level in {"error", "critical", "none"} or "exception" in text.casefold():
                tally.find("a line of the log", line=text.strip()[:2000])
    return levels


def _level(text: str) -> str:
    try:
        line = json.loads(text)
    except ValueError:
        return "none"
    return line.get("level", "none") if isinstance(line, dict) else "none"
