"""Soak test: a real server under mixed load for a set time; fails where anything is not as it must be.

Users send clips, a minute and longer files in all formats, broken files and wrong fields, or hang up at any moment;
they hand over jobs, and cancel some; 100 requests come at once; models are loaded and unloaded, engines killed. It must
hold that

- every answer, and every result of a job, is the one that the same request got when it was alone, or the error that
  is due, or 429 or 503 with Retry-After;
- ``/health`` always answers;
- no engine ends that was not killed, and the log tells of no exception;
- memory of the server and of an engine that lives on is flat over the second half (judged from 5 minutes on);
- afterwards nothing is queued, and no file, zombie or open file is left;
- SIGTERM ends the server with status 0 and all of its processes.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from tests.integration.live_server import LiveServer, live_server
from tests.soak.aftermath import check_log, check_quiet, check_stopped
from tests.soak.cases import right_cases, wrong_cases
from tests.soak.client import Client
from tests.soak.load import OTHER_MODELS, Load
from tests.soak.processes import Processes
from tests.soak.recordings import MAX_AUDIO_S, MAX_UPLOAD_MB, bad_files, good_files
from tests.soak.tally import Tally
from tests.soak.watch import Watch, say

_NANO = Path(__file__).parents[2] / "src" / "auricle" / "models" / "nano"
_LIMITS: dict[str, Any] = {
    "max_requests": 24,
    "max_queued_audio_s": 900,
    "max_upload_mb": MAX_UPLOAD_MB,
    "max_audio_s": MAX_AUDIO_S,
    "max_loaded_models": 2,
    "cache_max_mb": 0.1,
}
"""Small, so that all of them are met."""
_EXACT: dict[str, Any] = {"compute_type": "float32"}
"""The texts are then the same on every processor, and none of them needs a temperature."""


def main() -> int:
    """Exit status: 1 where there is a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="time under load (%(default)s)")
    parser.add_argument("--users", type=int, default=8, help="clients at a time, bursts aside (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is random (%(default)s)")
    parser.add_argument("--out", type=Path, help="file for the result, JSON")
    parser.add_argument("--keep-log", type=Path, help="file for a copy of the server's log")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        try:
            result = asyncio.run(_soak(Path(folder), seconds=given.minutes * 60, users=given.users, seed=given.seed))
        finally:
            if given.keep_log is not None:
                shutil.copy(Path(folder) / "server.log", given.keep_log)
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(result, indent=1) + "\n")
    for finding in result["unexpected"]:
        say(json.dumps(finding))
    say(f"memory {json.dumps(result['memory']['growth'])}")
    say(f"{result['counts']['requests']} requests, {result['counts'].get('unexpected', 0)} unexpected")
    return 1 if result["unexpected"] else 0


async def _soak(folder: Path, *, seconds: float, users: int, seed: int) -> dict[str, Any]:
    tally = Tally(seed)
    aliases = ",".join(f"{name}={shutil.copytree(_NANO, folder / 'models' / name)}" for name in OTHER_MODELS)
    _clean_environment(folder / "tmp")
    with live_server(folder, model_aliases=aliases, log_format="json", **_EXACT, **_LIMITS) as server:
        processes = Processes(server.process.pid)
        memory, fds_before = await _put_under_load(server, processes, tally, seconds=seconds, users=users, seed=seed)
        counters = await asyncio.to_thread(check_quiet, server, processes, tally, fds_before=fds_before)
        await asyncio.to_thread(check_stopped, server, processes, tally)
    log = check_log(folder / "server.log", tally)
    about = {"machine": describe_machine(), "minutes": seconds / 60, "users": users, "seed": seed, "limits": _LIMITS}
    return about | tally.to_json() | {"server": counters, "log_lines": log, "memory": memory}


async def _put_under_load(
    server: LiveServer, processes: Processes, tally: Tally, *, seconds: float, users: int, seed: int
) -> tuple[dict[str, Any], int]:
    """Gives the figures of memory, and how many files the server had open before."""
    files = good_files() | {name: content for name, (content, _, _) in bad_files().items()}
    right = right_cases()
    client = Client(server.url, files, tally)
    async with client.http:
        await client.learn(case for cases in right.values() for case in cases)
        if fallbacks := server.metric("auricle_fallbacks_total"):
            tally.find(f"{fallbacks:g} windows needed a temperature, whose texts are drawn by chance")
        fds_before = processes.server.num_fds()
        say(f"{sum(map(len, right.values()))} answers are known; {seconds:g} s of load begin")
        load = Load(
            client=client,
            tally=tally,
            processes=processes,
            right=right,
            wrong=wrong_cases(),
            seconds=seconds,
            seed=seed,
        )
        watch = Watch(load, processes, tally, seconds)
        watching = asyncio.create_task(watch.run())
        await load.run(users=users)
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    return watch.judge(), fds_before


def _clean_environment(temporary: Path) -> None:
    """For the server: no settings from elsewhere, and a folder of its own for temporary files."""
    for name in [name for name in os.environ if name.startswith("AURICLE_")]:
        del os.environ[name]
    temporary.mkdir()
    os.environ["TMPDIR"] = str(temporary)


if __name__ == "__main__":
    raise SystemExit(main())
