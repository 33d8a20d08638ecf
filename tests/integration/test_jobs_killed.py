"""Jobs outlive their server, which is killed time and again, and a restart of their database."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from job_process import OPTIONS, settings
from live_server import DIGITS, MINUTE

from auricle.audio.decode import decode_audio
from auricle.job_types import Job
from auricle.runtime import open_runtime
from auricle.types import RequestInfo, Transcript
from postgres import Postgres, running_postgres
from samples import write_wav

SCRIPT = Path(__file__).with_name("job_process.py")
JOBS = 30


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with running_postgres() as server:
        yield server


def run_until(condition: Callable[[int, int], bool], folder: Path, url: str, *rest: object) -> tuple[int, int]:
    """Have a process run the jobs until the condition holds for rows and ended jobs, then kill it."""
    arguments = [sys.executable, str(SCRIPT), str(folder), url, *(str(one) for one in rest)]
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    rows, ended = 0, 0
    try:
        for line in process.stdout:
            rows, ended = (int(word) for word in line.split())
            if condition(rows, ended):
                break
    finally:
        process.kill()
        process.communicate()
    return rows, ended


def never(rows: int, ended: int) -> bool:
    return False


async def outcome(folder: Path, url: str) -> tuple[list[Job], dict[str, Transcript], Counter[str]]:
    """All jobs, the transcripts of those that succeeded, and how many webhook messages each has."""
    runtime = open_runtime(settings(folder, url))
    try:
        jobs = (await runtime.jobs.list(owner="ann", limit=1000)).jobs
        done = [job for job in jobs if job.status == "succeeded"]
        results = {job.id: await runtime.jobs.result(job.id, owner="ann") for job in done}
        messages = Counter({job.id: len(await runtime.jobs.deliveries(job.id, owner="ann")) for job in jobs})
        return list(jobs), results, messages
    finally:
        await runtime.close()


async def unbroken(folder: Path, audio: Path, options: str = "plain") -> tuple[Transcript, int]:
    """The transcript of a run without a break, and the rows that it took."""
    runtime = open_runtime(settings(folder, ""))
    try:
        found = await runtime.transcriber.run(
            audio, OPTIONS[options], model=None, request=RequestInfo(request_id="whole")
        )
        return found, int(runtime.metrics.registry.get_sample_value("auricle_windows_total") or 0)
    finally:
        await runtime.close()


@pytest.mark.parametrize("options", OPTIONS)
def test_a_long_job_that_is_killed_at_half_goes_on_from_there(tmp_path: Path, options: str) -> None:
    minute = np.concatenate(list(decode_audio(MINUTE)))
    audio = write_wav(tmp_path / "long.wav", np.tile(minute, 6))
    expected, rows = asyncio.run(unbroken(tmp_path / "whole", audio, options))
    assert rows > 40
    assert all((segment.speaker is None) == (options == "plain") for segment in expected.segments)
    first, _ = run_until(lambda done, ended: done >= rows // 2, tmp_path, "", audio, 1, options)
    second, _ = run_until(never, tmp_path, "")
    jobs, results, messages = asyncio.run(outcome(tmp_path, ""))
    assert [(job.status, job.attempts) for job in jobs] == [("succeeded", 2)]
    (found,) = results.values()
    assert found.segments == expected.segments
    assert found.dropped == expected.dropped
    assert list(messages.values()) == [1]
    # A batch, and what finished since the last save.
    assert first + second - rows <= 8, (first, second, rows)


def test_a_database_that_restarts_under_a_running_server_costs_no_job(tmp_path: Path, postgres: Postgres) -> None:
    url = postgres.create_database()
    restarted = False

    def restart_once(rows: int, ended: int) -> bool:
        nonlocal restarted
        if ended >= 3 and not restarted:
            restarted = True
            postgres.restart()
        return False

    _, ended = run_until(restart_once, tmp_path, url, DIGITS, JOBS)
    assert restarted
    assert ended == JOBS
    jobs, _, messages = asyncio.run(outcome(tmp_path, url))
    assert Counter(job.status for job in jobs) == {"succeeded": JOBS}
    assert set(messages.values()) == {1}
