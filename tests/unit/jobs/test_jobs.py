"""Jobs from their acceptance to their end, with a model in the test's own process."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from job_server import MINUTE, OPTIONS, SHORT, JobServer, ended, expected, new_job, until, untimed

from auricle.audio.fetch import BoundedFile
from auricle.errors import (
    Busy,
    CorruptAudio,
    ForbiddenUrl,
    IdempotencyConflict,
    InvalidOption,
    JobCancelled,
    JobNotFinished,
    JobNotFound,
    NotFound,
    UnsupportedAudio,
)
from auricle.job_types import JobSource, NewJob, WebhookTarget
from auricle.jobs.build import JobLimits
from auricle.store.opening import JobStores, open_jobs
from auricle.store.unavailable import StoreUnavailable
from auricle.types import Priority
from one_engine import OneEngine

LIMITS = JobLimits(max_running=2, tries=3, keep_for=timedelta(days=1))


async def test_a_job_ends_with_the_transcript_of_its_audio(tmp_path: Path) -> None:
    server = JobServer(tmp_path)
    async with server.running() as jobs:
        job, is_new = await jobs.submit(new_job(MINUTE, metadata={"a": 1}), owner="ann")
        assert is_new
        assert (job.status, job.priority, job.metadata) == ("queued", Priority.BATCH, {"a": 1})
        assert job.audio_s == pytest.approx(60, abs=1)
        done = await ended(jobs, job)
        assert (done.status, done.progress, done.attempts) == ("succeeded", 1.0, 1)
        assert untimed(await jobs.result(job.id, owner="ann")) == await expected(MINUTE)
        assert server.audio() == []
    assert {request.caller for request in server.engine.requests} == {"ann"}
    assert {request.priority for request in server.engine.requests} == {Priority.BATCH}
    assert MINUTE.exists()


async def test_jobs_and_their_results_are_those_of_their_owner_only(tmp_path: Path) -> None:
    async with JobServer(tmp_path).running() as jobs:
        job, _ = await jobs.submit(new_job(), owner="ann")
        await ended(jobs, job)
        for call in (jobs.get, jobs.result, jobs.cancel, jobs.delete, jobs.deliveries):
            with pytest.raises(JobNotFound):
                await call(job.id, owner="bob")
        with pytest.raises(JobNotFound):
            await anext(jobs.watch(job.id, owner="bob"))
        assert (await jobs.list(owner="bob")).jobs == ()
        assert [one.id for one in (await jobs.list(owner=None, status="succeeded")).jobs] == [job.id]


async def test_pages_lead_to_one_another(tmp_path: Path) -> None:
    server = JobServer(tmp_path, OneEngine(gate=asyncio.Event()))
    async with server.running() as jobs:
        made = [(await jobs.submit(new_job(), owner="ann"))[0].id for _ in range(5)]
        first = await jobs.list(owner="ann", limit=3)
        assert first.after is not None
        rest = await jobs.list(owner="ann", limit=3, after=first.after)
        assert rest.after is None
        assert [job.id for job in first.jobs + rest.jobs] == made[::-1]


async def test_the_same_request_with_the_same_key_is_one_job(tmp_path: Path) -> None:
    server = JobServer(tmp_path, OneEngine(gate=asyncio.Event()))
    async with server.running() as jobs:
        first, is_new = await jobs.submit(new_job(idempotency_key="k"), owner="ann")
        again, is_new_again = await jobs.submit(new_job(idempotency_key="k"), owner="ann")
        assert (is_new, is_new_again, again.id) == (True, False, first.id)
        with pytest.raises(IdempotencyConflict, match=first.id):
            await jobs.submit(new_job(MINUTE, idempotency_key="k"), owner="ann")
        with pytest.raises(IdempotencyConflict):
            await jobs.submit(replace(new_job(idempotency_key="k"), model="other"), owner="ann")
        assert server.audio() == [first.id]


async def test_a_job_that_is_accepted_is_on_disk_before_the_answer(tmp_path: Path) -> None:
    server = JobServer(tmp_path)
    job, _ = await server.jobs.submit(new_job(), owner="ann")  # nothing runs yet
    await server.jobs.close()
    assert server.audio() == [job.id]
    async with JobServer(tmp_path).running() as jobs:
        assert (await ended(jobs, job)).status == "succeeded"


async def test_a_job_without_a_result_says_why(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with JobServer(tmp_path, OneEngine(gate=gate)).running() as jobs:
        job, _ = await jobs.submit(new_job(), owner="ann")
        with pytest.raises(JobNotFinished):
            await jobs.result(job.id, owner="ann")
        await jobs.cancel(job.id, owner="ann")
        with pytest.raises(JobCancelled):
            await jobs.result(job.id, owner="ann")


async def test_a_cancelled_job_leaves_the_engine_at_once(tmp_path: Path) -> None:
    server = JobServer(tmp_path, OneEngine(gate=asyncio.Event(), waits_after=2))
    async with server.running() as jobs:
        job, _ = await jobs.submit(new_job(MINUTE), owner="ann")
        await server.engine.is_waiting.wait()
        cancelled = await jobs.cancel(job.id, owner="ann")
        assert (cancelled.status, cancelled.error_code) == ("cancelled", None)
        # The run is over, although runs that requests share would linger for a minute here.
        await until(lambda: is_idle(server))
        assert server.audio() == []
        assert (await jobs.cancel(job.id, owner="ann")).ended_at == cancelled.ended_at


async def is_idle(server: JobServer) -> bool:
    return not server.transcriber._runs and not server.jobs._runner._runs


async def test_a_deleted_job_is_gone_with_its_audio(tmp_path: Path) -> None:
    server = JobServer(tmp_path, OneEngine(gate=asyncio.Event()))
    async with server.running() as jobs:
        job, _ = await jobs.submit(new_job(), owner="ann")
        await server.engine.is_waiting.wait()
        await jobs.delete(job.id, owner="ann")
        with pytest.raises(JobNotFound):
            await jobs.get(job.id, owner="ann")
        await until(lambda: is_idle(server))
        assert server.audio() == []


async def test_audio_that_cannot_be_used_fails_at_once_with_its_own_error(tmp_path: Path) -> None:
    broken = tmp_path / "a.txt"
    broken.write_text("not audio at all")
    async with JobServer(tmp_path).running() as jobs:
        job, _ = await jobs.submit(new_job(broken), owner="ann")
        done = await ended(jobs, job)
        assert (done.status, done.attempts) == ("failed", 1)
        with pytest.raises((UnsupportedAudio, CorruptAudio)):
            await jobs.result(job.id, owner="ann")


def url_job(url: str = "https://example.com/a.wav") -> NewJob:
    return NewJob(source=JobSource(kind="url", url=url), options=OPTIONS)


async def test_the_audio_of_a_url_is_fetched_once_and_kept_until_the_end(tmp_path: Path) -> None:
    fetched: list[str] = []

    async def fetch(url: str) -> BoundedFile:
        fetched.append(url)
        file = BoundedFile(tmp_path, max_bytes=1 << 30)
        file.write(SHORT.read_bytes())
        file.finish()
        return file

    first = JobServer(tmp_path, OneEngine(gate=asyncio.Event()), fetch)
    async with first.running() as jobs:
        job, _ = await jobs.submit(url_job(), owner="ann")
        await first.engine.is_waiting.wait()
        assert first.audio() == [job.id]
        found = await jobs.get(job.id, owner="ann")
        assert (found.source.size, found.audio_s) == (SHORT.stat().st_size, pytest.approx(2.0, abs=2))
    assert not list(tmp_path.glob("upload-*"))
    async with JobServer(tmp_path, fetch=fetch).running() as jobs:
        assert (await ended(jobs, job)).status == "succeeded"
        assert untimed(await jobs.result(job.id, owner="ann")) == await expected(SHORT)
    assert fetched == ["https://example.com/a.wav"]


async def test_a_url_that_must_not_be_fetched_fails_the_job_with_that_code(tmp_path: Path) -> None:
    async def refuse(url: str) -> BoundedFile:
        raise ForbiddenUrl("10.0.0.1 is private")

    async with JobServer(tmp_path, fetch=refuse).running() as jobs:
        job, _ = await jobs.submit(url_job(), owner="ann")
        done = await ended(jobs, job)
        assert (done.status, done.error_code, done.error_message) == ("failed", "forbidden_url", "10.0.0.1 is private")
        with pytest.raises(ForbiddenUrl):
            await jobs.result(job.id, owner="ann")


async def test_a_defect_fails_the_job_and_not_the_runner(tmp_path: Path) -> None:
    async def fail(url: str) -> BoundedFile:
        raise ZeroDivisionError

    async with JobServer(tmp_path, fetch=fail).running() as jobs:
        broken, _ = await jobs.submit(url_job(), owner="ann")
        done = await ended(jobs, broken)
        assert (done.status, done.error_code) == ("failed", "internal_error")
        job, _ = await jobs.submit(new_job(), owner="ann")
        assert (await ended(jobs, job)).status == "succeeded"


async def test_no_more_jobs_run_at_once_than_allowed_and_the_urgent_go_first(tmp_path: Path) -> None:
    gate = asyncio.Event()
    server = JobServer(tmp_path, OneEngine(gate=gate), limits=replace(LIMITS, max_running=1))
    async with server.running() as jobs:
        first, _ = await jobs.submit(new_job(), owner="ann")
        await server.engine.is_waiting.wait()
        second, _ = await jobs.submit(new_job(MINUTE), owner="ann")
        urgent, _ = await jobs.submit(new_job(priority=Priority.INTERACTIVE, model="x"), owner="bob")
        positions = [await jobs.position(await jobs.get(one.id, owner=None)) for one in (first, urgent, second)]
        assert positions == [0, 1, 2]
        assert await jobs.eta_s(second) is None  # nothing has been measured yet
        gate.set()
        done = [await ended(jobs, one) for one in (first, second, urgent)]
        assert await jobs.position(done[0]) is None
        assert done[2].started_at is not None
        assert done[1].started_at is not None
        assert done[2].started_at < done[1].started_at


async def test_a_watcher_sees_the_way_of_a_job_to_its_end(tmp_path: Path) -> None:
    gate = asyncio.Event()
    server = JobServer(tmp_path, OneEngine(gate=gate, waits_after=4))
    async with server.running() as jobs:
        job, _ = await jobs.submit(new_job(MINUTE), owner="ann")
        seen = []
        async for one in jobs.watch(job.id, owner="ann"):
            seen.append(one)
            if one.progress > 0 and not gate.is_set():
                await server.engine.is_waiting.wait()
                assert await jobs.eta_s(one) is not None
                gate.set()
    assert seen[-1].status == "succeeded"
    assert [one.progress for one in seen] == sorted(one.progress for one in seen)
    assert any(0 < one.progress < 1 for one in seen)
    assert await_no_watchers(server)


def await_no_watchers(server: JobServer) -> bool:
    return not server.jobs._watchers._events


async def test_the_watch_of_a_job_that_is_deleted_ends(tmp_path: Path) -> None:
    async with JobServer(tmp_path, OneEngine(gate=asyncio.Event())).running() as jobs:
        job, _ = await jobs.submit(new_job(), owner="ann")
        statuses = []
        async for one in jobs.watch(job.id, owner="ann"):
            statuses.append(one.status)
            if len(statuses) == 1:
                await jobs.delete(job.id, owner="ann")
    assert "succeeded" not in statuses


async def test_the_end_of_a_job_adds_the_message_to_its_webhook_and_wakes_the_sender(tmp_path: Path) -> None:
    server = JobServer(tmp_path)
    target = WebhookTarget(url="https://example.com/hook", headers={"x": "y"})
    async with server.running() as jobs:
        job, _ = await jobs.submit(new_job(webhook=target), owner="ann")
        await ended(jobs, job)
        (delivery,) = await jobs.deliveries(job.id, owner="ann")
        assert (delivery.url, delivery.status) == ("https://example.com/hook", "pending")
        assert server.sender.woken == 1
        again = await jobs.redeliver(delivery.id, owner="ann")
        assert again.id == delivery.id
        assert server.sender.woken == 2
    assert not server.sender.is_running


async def test_without_retention_a_result_goes_soon_after_it_was_fetched(tmp_path: Path) -> None:
    limits = replace(LIMITS, zero_retention=True, keep_audio_for=timedelta(days=1))
    server = JobServer(tmp_path, limits=limits)
    async with server.running() as jobs:
        job, _ = await jobs.submit(new_job(), owner="ann")
        done = await ended(jobs, job)
        assert server.audio() == []
        assert done.ended_at is not None
        assert done.expires_at == done.ended_at + timedelta(hours=1)
        await jobs.result(job.id, owner="ann")
        expires_at = (await jobs.get(job.id, owner="ann")).expires_at
        assert expires_at is not None
        assert expires_at - done.ended_at < timedelta(minutes=5)


async def test_audio_stays_where_that_is_wanted(tmp_path: Path) -> None:
    server = JobServer(tmp_path, limits=replace(LIMITS, keep_audio_for=timedelta(days=1)))
    async with server.running() as jobs:
        job, _ = await jobs.submit(new_job(), owner="ann")
        await ended(jobs, job)
    assert server.audio() == [job.id]


async def test_a_database_that_does_not_work_is_said_and_used_again_when_it_does(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    is_broken = True

    def open_stores() -> JobStores:
        if is_broken:
            raise StoreUnavailable("the disk is on fire")
        return open_jobs(tmp_path)

    async with JobServer(tmp_path, open_stores=open_stores).running() as jobs:
        with pytest.raises(Busy, match="database"):
            await jobs.submit(new_job(), owner="ann")
        is_broken = False
        job, _ = await jobs.submit(new_job(), owner="ann")
        assert (await jobs.get(job.id, owner="ann")).status == "queued"
    assert "on fire" in caplog.text


async def test_jobs_are_counted_by_status_and_time(tmp_path: Path) -> None:
    server = JobServer(tmp_path)
    async with server.running() as jobs:
        job, _ = await jobs.submit(new_job(), owner="ann")
        await ended(jobs, job)
        server.metrics.set_jobs({"succeeded": 1})
    text = server.metrics.render().decode()
    assert 'auricle_jobs{status="succeeded"} 1.0' in text
    assert 'auricle_jobs{status="queued"} 0.0' in text
    assert 'auricle_job_seconds_count{status="succeeded"} 1.0' in text


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "x" * 37, "../../etc/passwd", "%00"])
async def test_a_name_that_no_job_can_have_is_not_found(tmp_path: Path, name: str) -> None:
    server = JobServer(tmp_path)
    with pytest.raises(JobNotFound):
        await server.jobs.get(name, owner=None)
    with pytest.raises(NotFound):
        await server.jobs.redeliver(name, owner="ann")
    with pytest.raises(InvalidOption):
        await server.jobs.list(owner=None, after=name)
    await server.jobs.close()


async def test_a_job_is_found_by_its_idempotency_key_and_a_key_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    server = JobServer(tmp_path)
    job, _ = await server.jobs.submit(new_job(idempotency_key="k 1"), owner="ann")
    assert await server.jobs.find("k 1", owner="ann") == job
    for key, owner in (("k 1", "bob"), ("k", "ann"), ("\0\ud800", "ann")):
        assert await server.jobs.find(key, owner=owner) is None
    for key in ("", "x" * 256, "a\0", "ü"):
        with pytest.raises(InvalidOption):
            await server.jobs.submit(new_job(idempotency_key=key), owner="ann")
    with pytest.raises(InvalidOption):
        await server.jobs.submit(new_job(webhook=WebhookTarget(url="https://a/\0")), owner="ann")
    assert server.audio() == [job.id]
    await server.jobs.close()
