"""Jobs that run more than once: after their server, their engine or a passing failure."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from job_server import MINUTE, JobServer, abandon, ended, expected, new_job, until, untimed

from auricle.errors import (
    EngineFailed,
    JobKilledEngine,
    MemoryPressure,
)
from auricle.jobs import outcome, runner
from auricle.jobs.build import JobLimits
from one_engine import OneEngine

LIMITS = JobLimits(max_running=2, tries=3, keep_for=timedelta(days=1))


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses before the next try."""
    monkeypatch.setattr(outcome, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(outcome, "_BUSY_S", 0.01)
    monkeypatch.setattr(runner, "POLL_S", 0.05)


async def test_a_server_that_stops_leaves_its_jobs_to_the_next_one(tmp_path: Path) -> None:
    first = JobServer(tmp_path, OneEngine(gate=asyncio.Event(), waits_after=4))
    async with first.running() as jobs:
        job, _ = await jobs.submit(new_job(MINUTE), owner="ann")
        await first.engine.is_waiting.wait()
    second = JobServer(tmp_path)
    async with second.running() as jobs:
        done = await ended(jobs, job)
        assert (done.status, done.attempts, done.crashes) == ("succeeded", 2, 0)
        assert untimed(await jobs.result(job.id, owner="ann")) == await expected(MINUTE)
    whole = OneEngine()
    async with JobServer(tmp_path / "other", whole).running() as jobs:
        await ended(jobs, (await jobs.submit(new_job(MINUTE), owner="ann"))[0])
    assert first.engine.decoded() + second.engine.decoded() == whole.decoded()


async def test_a_job_of_a_dead_server_is_taken_up_by_another_one_at_once(tmp_path: Path) -> None:
    first = JobServer(tmp_path, OneEngine(gate=asyncio.Event()))
    second = JobServer(tmp_path)
    first.jobs.start()
    job, _ = await first.jobs.submit(new_job(), owner="ann")
    await first.engine.is_waiting.wait()
    await abandon(first.jobs)
    async with second.running() as jobs:
        done = await ended(jobs, job)
        assert (done.status, done.attempts) == ("succeeded", 2)
    await first.jobs.close()
    await first.transcriber.close()


async def test_a_job_of_a_living_server_is_left_to_it(tmp_path: Path) -> None:
    gate = asyncio.Event()
    first = JobServer(tmp_path, OneEngine(gate=gate))
    async with first.running() as jobs:
        job, _ = await jobs.submit(new_job(), owner="ann")
        await first.engine.is_waiting.wait()
        async with JobServer(tmp_path).running() as others:
            await others._runner._recover()
            gate.set()
            done = await ended(others, job)
            assert (done.status, done.attempts) == ("succeeded", 1)


@pytest.mark.usefixtures("hasty")
async def test_a_job_that_kills_its_engine_thrice_fails_with_a_clear_error(tmp_path: Path) -> None:
    engine = OneEngine(fails_after=0, error=EngineFailed("the engine died with signal 11"))
    async with JobServer(tmp_path, engine, limits=replace(LIMITS, tries=9)).running() as jobs:
        job, _ = await jobs.submit(new_job(), owner="ann")
        done = await ended(jobs, job)
        assert (done.status, done.error_code, done.attempts) == ("failed", "job_killed_engine", 3)
        with pytest.raises(JobKilledEngine, match="signal 11"):
            await jobs.result(job.id, owner="ann")


@pytest.mark.usefixtures("hasty")
async def test_a_job_whose_server_died_thrice_is_not_tried_again(tmp_path: Path) -> None:
    gate = asyncio.Event()
    job = None
    for _ in range(3):
        server = JobServer(tmp_path, OneEngine(gate=gate))
        server.jobs.start()
        if job is None:
            job, _ = await server.jobs.submit(new_job(), owner="ann")
        await server.engine.is_waiting.wait()
        await abandon(server.jobs)
        await server.jobs.close()
        await server.transcriber.close()
    assert job is not None
    last = JobServer(tmp_path)
    async with last.running() as jobs:
        done = await ended(jobs, job)
    assert (done.status, done.error_code) == ("failed", "job_killed_engine")
    assert last.engine.rows == []


@pytest.mark.usefixtures("hasty")
async def test_what_is_busy_is_waited_for_and_not_counted(tmp_path: Path) -> None:
    engine = OneEngine(fails_after=0, error=MemoryPressure("no room", retry_after_s=0.01))
    async with JobServer(tmp_path, engine, limits=replace(LIMITS, tries=1)).running() as jobs:
        job, _ = await jobs.submit(new_job(), owner="ann")

        async def has_tried_often() -> bool:
            return (await jobs.get(job.id, owner="ann")).attempts > 4

        await until(has_tried_often)
        engine.fails_after = None
        done = await ended(jobs, job)
        assert (done.status, done.failures) == ("succeeded", 0)


@pytest.mark.usefixtures("hasty")
async def test_each_failure_without_progress_counts_and_progress_wipes_the_slate(tmp_path: Path) -> None:
    engine = OneEngine(fails_after=1, error=EngineFailed("gone"))
    async with JobServer(tmp_path, engine, limits=replace(LIMITS, tries=2, max_running=1)).running() as jobs:
        job, _ = await jobs.submit(new_job(MINUTE), owner="ann")

        async def let_each_run_do_some() -> bool:
            engine.fails_after = len(engine.rows) + 1
            return (await jobs.get(job.id, owner="ann")).is_final

        await until(let_each_run_do_some)
        done = await jobs.get(job.id, owner="ann")
        assert (done.status, done.attempts > 3) == ("succeeded", True)
        assert untimed(await jobs.result(job.id, owner="ann")) == await expected(MINUTE)
