"""Jobs in the database: accepted once, claimed by one, ended by one, and nothing of them is lost in between."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from auricle.job_types import Job, JobSource, WebhookTarget
from auricle.jobs.ids import new_id
from auricle.store.database import open_database
from auricle.store.deliveries import DeliveryStore, add_delivery
from auricle.store.job_runs import MAX_ERROR_CHARS, RunStore, tell_nobody
from auricle.store.jobs import JobStore, pack_result
from auricle.store.tables import job_parts, job_results
from auricle.store.tables import jobs as jobs_table
from auricle.store.unavailable import StoreUnavailable
from auricle.types import Priority, Segment, TranscribeOptions, Transcript

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
LEASE = timedelta(seconds=60)
DAY = timedelta(days=1)
HELLO = Transcript(
    text="hello", segments=(Segment(id=0, start=0.0, end=1.0, text=" hello"),), language="en", duration=1.0
)


class Stores:
    """The stores of one database, and the clock that they go by."""

    def __init__(self, url: str) -> None:
        self.engine = open_database(url)
        self.now = NOON
        self.jobs = JobStore(self.engine, now=lambda: self.now)
        self.runs = RunStore(self.engine, now=lambda: self.now)
        self.deliveries = DeliveryStore(self.engine, now=lambda: self.now)

    def add(self, **changes: Any) -> Job:
        values: dict[str, Any] = {"id": new_id(), "owner": "ann", "created_at": self.now} | changes
        new = Job(
            status="queued",
            options=TranscribeOptions(),
            source=JobSource(kind="file", path=values["id"]),
            **values,
        )
        return self.jobs.add(new, request_hash="h", place="here")[0]

    def claim(self, runner: str = "r", place: str = "here") -> Job | None:
        return self.runs.claim(runner, place=place, lease=LEASE)

    def end(self, job: Job, *, runner: str | None = "r", announce: Any = tell_nobody, **changes: Any) -> Job | None:
        values: dict[str, Any] = {"status": "succeeded", "result": pack_result(HELLO)} | changes
        return self.runs.end(job.id, values.pop("status"), runner=runner, keep_for=DAY, announce=announce, **values)

    def job(self, job: Job) -> Job:
        found = self.jobs.get(job.id, owner=None)
        assert found is not None
        return found

    def rows(self, table: Any) -> int:
        with self.engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(table)).scalar_one()


@pytest.fixture
def stores(database_url: str) -> Iterator[Stores]:
    opened = Stores(database_url)
    yield opened
    opened.engine.dispose()


RICH: dict[str, Any] = {
    "model": "turbo",
    "priority": Priority.INTERACTIVE,
    "webhook": WebhookTarget(url="https://example.com/h", headers={"x": "y"}, secret="whsec_abc", style="standard"),
    "metadata": {"team": "ü", "n": [1, None]},
    "idempotency_key": "k1",
    "audio_s": 12.5,
}


def test_a_job_comes_back_as_it_was_accepted(stores: Stores) -> None:
    job = stores.add(**RICH)
    assert stores.jobs.get(job.id, owner="ann") == job
    assert stores.jobs.get(job.id, owner=None) == job


def test_options_survive_with_every_field(stores: Stores) -> None:
    options = TranscribeOptions(
        language="de", keywords=("a", "b"), temperatures=(0.0, 0.4), prompt="Grüße", vad=False, no_speech_threshold=None
    )
    job = replace(stores.add(), id=new_id(), options=options)
    stores.jobs.add(job, request_hash="h", place=None)
    assert stores.job(job).options == options


def test_a_job_of_another_owner_is_not_there(stores: Stores) -> None:
    job = stores.add()
    assert stores.jobs.get(job.id, owner="bob") is None
    assert stores.jobs.page(owner="bob", status=(), model=None, limit=5, after=None) == []


def test_text_that_databases_refuse_is_made_harmless(stores: Stores) -> None:
    job = stores.add(
        model="a\0b",
        metadata={"x": "\0\ud800"},
    )
    assert stores.job(job).model == "a\ufffdb"
    stores.claim()
    ended = stores.end(job, status="failed", result=None, error=("internal_error", "x\0" * MAX_ERROR_CHARS))
    assert ended is not None
    assert len(ended.error_message or "") == MAX_ERROR_CHARS


def test_the_same_idempotency_key_gives_the_job_that_is_there(stores: Stores) -> None:
    first = stores.add(idempotency_key="k")
    second = replace(first, id=new_id())
    assert stores.jobs.add(second, request_hash="other", place="here") == (first, "h")
    other_owner = replace(first, id=new_id(), owner="bob")
    assert stores.jobs.add(other_owner, request_hash="h", place="here")[0].id == other_owner.id
    assert stores.add().id != stores.add().id


def test_jobs_with_one_key_at_once_become_one(stores: Stores) -> None:
    template = stores.add()

    def submit(_: int) -> str:
        return stores.jobs.add(replace(template, id=new_id(), idempotency_key="k"), request_hash="h", place="p")[0].id

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(submit, range(8)))) == 1


def test_the_most_urgent_job_is_claimed_first_then_the_oldest(stores: Stores) -> None:
    batch = [stores.add(), stores.add()]
    urgent = stores.add(priority=Priority.INTERACTIVE)
    claimed = [stores.claim() for _ in range(4)]
    assert [job.id if job else None for job in claimed] == [urgent.id, batch[0].id, batch[1].id, None]
    first = claimed[0]
    assert first is not None
    assert (first.status, first.attempts, first.started_at) == ("running", 1, NOON)


def test_runners_at_once_never_get_the_same_job(database_url: str, stores: Stores) -> None:
    ids = {stores.add().id for _ in range(30)}
    claimed: list[str] = []
    lock = threading.Lock()

    def work(runner: str) -> None:
        own = Stores(database_url)
        while (job := own.claim(runner)) is not None:
            with lock:
                claimed.append(job.id)
        own.engine.dispose()

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(work, ("a", "b", "c")))
    # One may have found only jobs that others were just claiming, and given up early.
    while (job := stores.claim()) is not None:
        claimed.append(job.id)
    assert sorted(claimed) == sorted(ids)


def test_a_job_is_claimed_where_its_audio_is(stores: Stores) -> None:
    job = stores.add()
    assert stores.claim(place="elsewhere") is None
    assert stores.claim(place="here") is not None
    fetched = replace(job, id=new_id())
    stores.jobs.add(fetched, request_hash="h", place=None)
    assert stores.claim(place="elsewhere") is not None


def test_parts_are_kept_for_the_next_run_and_wipe_the_slate(stores: Stores) -> None:
    job = stores.add()
    stores.claim()
    assert stores.runs.begin(job.id, "r", run_key="k") == {}
    stores.runs.put_back(job.id, "r", delay=timedelta(), failures=1, crashes=1)
    assert (stores.job(job).failures, stores.job(job).crashes) == (1, 1)
    stores.claim()
    stores.runs.begin(job.id, "r", run_key="k")
    assert stores.runs.save(job.id, "r", parts=[(0, b"a"), (2, b"c")], progress=0.5)
    assert stores.runs.save(job.id, "r", parts=[(2, b"C")], progress=0.6)
    assert (stores.job(job).failures, stores.job(job).crashes, stores.job(job).progress) == (0, 0, 0.6)
    stores.runs.put_back(job.id, "r", delay=timedelta())
    stores.claim()
    assert stores.runs.begin(job.id, "r", run_key="k") == {0: b"a", 2: b"C"}


def test_parts_of_another_model_are_thrown_away(stores: Stores) -> None:
    job = stores.add()
    stores.claim()
    stores.runs.begin(job.id, "r", run_key="k")
    stores.runs.save(job.id, "r", parts=[(0, b"a")], progress=0.5)
    assert stores.runs.begin(job.id, "r", run_key="other") == {}
    assert stores.rows(job_parts) == 0


def test_a_job_that_is_put_back_waits_for_its_time(stores: Stores) -> None:
    job = stores.add()
    stores.claim()
    assert stores.runs.put_back(job.id, "r", delay=timedelta(seconds=10))
    assert stores.claim() is None
    stores.now += timedelta(seconds=10)
    again = stores.claim()
    assert again is not None
    assert (again.id, again.attempts, again.started_at) == (job.id, 2, NOON)


def test_the_end_of_a_job_is_one_transaction(stores: Stores) -> None:
    job = stores.add(**RICH)
    stores.claim()
    stores.runs.begin(job.id, "r", run_key="k")
    stores.runs.save(job.id, "r", parts=[(0, b"a")], progress=0.5)

    def fail(connection: Connection, job: Job) -> None:
        del connection, job
        raise StoreUnavailable("the disk is full")

    with pytest.raises(StoreUnavailable):
        stores.end(job, announce=fail)
    assert stores.job(job).status == "running"
    assert (stores.rows(job_parts), stores.rows(job_results)) == (1, 0)
    ended = stores.end(job, announce=message)
    assert ended is not None
    assert (ended.status, ended.progress, ended.ended_at) == ("succeeded", 1.0, NOON)
    assert ended.expires_at == NOON + DAY
    assert stores.jobs.result(job.id) == HELLO
    assert len(stores.deliveries.list_for_job(job.id, owner="ann")) == 1
    assert stores.rows(job_parts) == 0


def message(connection: Connection, job: Job) -> None:
    add_delivery(
        connection,
        job_id=job.id,
        owner=job.owner,
        url="https://example.com/h",
        headers={},
        secret=None,
        body=b"{}",
        now=NOON,
    )


def test_a_job_ends_once(stores: Stores) -> None:
    job = stores.add()
    stores.claim()
    assert stores.end(job, runner=None, status="cancelled", result=None) is not None
    assert stores.end(job, announce=message) is None
    assert stores.end(job, runner=None, status="cancelled", result=None) is None
    assert stores.job(job).status == "cancelled"
    assert stores.jobs.result(job.id) is None
    assert stores.deliveries.list_for_job(job.id, owner="ann") == []


def refusals(stores: Stores, job: Job) -> dict[str, Callable[[], object]]:
    runs = stores.runs
    return {
        "begin": lambda: runs.begin(job.id, "r", run_key="k"),
        "save": lambda: runs.save(job.id, "r", parts=[(0, b"late")], progress=0.9),
        "put_back": lambda: runs.put_back(job.id, "r", delay=timedelta()),
        "source": lambda: runs.note_source(job.id, "r", source=job.source, audio_s=1.0),
        "end": lambda: stores.end(job),
    }


@pytest.mark.parametrize("what", ["begin", "save", "put_back", "source", "end"])
def test_a_runner_that_lost_a_job_writes_nothing_more_of_it(stores: Stores, what: str) -> None:
    job = stores.add()
    stores.claim("r")
    stores.now += LEASE + timedelta(seconds=1)
    assert stores.runs.recover("s", dead=()) == 1
    taken = stores.claim("s")
    assert taken is not None
    assert refusals(stores, job)[what]() in (None, False)
    assert stores.job(job) == taken
    assert stores.rows(job_parts) == 0


def test_jobs_of_a_dead_runner_come_back_and_those_of_a_living_one_do_not(stores: Stores) -> None:
    lost, kept = stores.add(), stores.add()
    stores.claim("dead")
    stores.claim("alive")
    assert stores.runs.others("me") == {"dead", "alive"}
    assert stores.runs.recover("me", dead=["dead"]) == 1
    assert (stores.job(lost).status, stores.job(kept).status) == ("queued", "running")
    stores.now += LEASE - timedelta(seconds=1)
    stores.runs.renew("alive", lease=LEASE)
    stores.now += LEASE - timedelta(seconds=1)
    assert stores.runs.recover("me", dead=[]) == 0
    assert stores.runs.recover("alive", dead=["alive"]) == 0
    stores.now += timedelta(seconds=2)
    assert stores.runs.recover("me", dead=[]) == 1


def test_a_death_counts_against_a_job_only_once_the_work_has_begun(stores: Stores) -> None:
    waiting, working = stores.add(), stores.add()
    stores.claim()
    stores.claim()
    stores.runs.begin(working.id, "r", run_key="k")
    assert stores.runs.recover("s", dead=["r"]) == 2
    assert (stores.job(waiting).crashes, stores.job(working).crashes) == (0, 1)


def test_a_runner_that_ends_in_peace_costs_its_jobs_nothing(stores: Stores) -> None:
    job = stores.add()
    stores.claim()
    stores.runs.begin(job.id, "r", run_key="k")
    assert stores.runs.owned("r") == {job.id}
    stores.runs.release("r")
    assert stores.runs.owned("r") == set()
    found = stores.job(job)
    assert (found.status, found.crashes, found.failures) == ("queued", 0, 0)


def test_pages_follow_one_another_and_filters_hold(stores: Stores) -> None:
    made = [stores.add(model="a" if number % 2 else "b") for number in range(7)]
    stores.claim()
    page = stores.jobs.page(owner="ann", status=(), model=None, limit=3, after=None)
    rest = stores.jobs.page(owner="ann", status=(), model=None, limit=9, after=page[-1].id)
    assert [job.id for job in page + rest] == [job.id for job in reversed(made)]
    running = stores.jobs.page(owner=None, status=("running",), model=None, limit=9, after=None)
    assert [job.id for job in running] == [made[0].id]
    assert len(stores.jobs.page(owner=None, status=(), model="a", limit=9, after=None)) == 3
    assert stores.jobs.counts() == {"queued": 6, "running": 1}


def test_the_backlog_is_what_goes_before_a_job(stores: Stores) -> None:
    running = stores.add(audio_s=100.0)
    stores.claim()
    stores.runs.save(running.id, "r", parts=[], progress=0.25)
    stores.add(audio_s=10.0)
    mine = stores.add(audio_s=5.0)
    stores.add(audio_s=7.0, priority=Priority.INTERACTIVE)
    stores.add(audio_s=1000.0)
    backlog = stores.jobs.backlog(mine)
    assert (backlog.jobs, backlog.audio_s, backlog.unknown) == (2, 92.0, 0)
    stores.add(priority=Priority.REALTIME)
    assert stores.jobs.backlog(mine).unknown == 1


def test_old_jobs_are_forgotten_but_not_before_their_webhooks_are_delivered(stores: Stores) -> None:
    plain, told = stores.add(), stores.add()
    stores.claim()
    stores.claim()
    stores.end(plain)
    stores.end(told, announce=message)
    stores.now += DAY - timedelta(seconds=1)
    stores.jobs.purge()
    assert stores.rows(jobs_table) == 2
    stores.now += timedelta(seconds=2)
    stores.jobs.purge()
    assert stores.jobs.get(plain.id, owner=None) is None
    (delivery,) = stores.deliveries.claim_due(limit=5, per_host=5, in_flight={}, lease=LEASE)
    stores.deliveries.mark_delivered(delivery, status=200)
    stores.jobs.purge()
    assert (stores.rows(jobs_table), stores.rows(job_results)) == (0, 0)
    assert stores.deliveries.list_for_job(told.id, owner="ann") == []


def test_a_result_can_be_made_to_expire_sooner_never_later(stores: Stores) -> None:
    job = stores.add()
    stores.claim()
    stores.end(job)
    stores.jobs.expire(job.id, NOON + 2 * DAY)
    assert stores.job(job).expires_at == NOON + DAY
    stores.jobs.expire(job.id, NOON)
    assert stores.job(job).expires_at == NOON


def test_a_deleted_job_leaves_nothing_behind(stores: Stores) -> None:
    job = stores.add()
    stores.claim()
    stores.end(job, announce=message)
    stores.jobs.delete(job.id)
    assert (stores.rows(jobs_table), stores.rows(job_results)) == (0, 0)
    assert stores.deliveries.list_for_job(job.id, owner="ann") == []


def test_audio_is_needed_until_some_time_after_the_end(stores: Stores) -> None:
    waiting, ended = stores.add(), stores.add()
    assert stores.end(ended, runner=None) is not None
    ids = [waiting.id, ended.id, "unknown"]
    assert stores.jobs.need_audio(ids, ended_after=NOON) == {waiting.id: True, ended.id: False}
    assert stores.jobs.need_audio(ids, ended_after=NOON - DAY) == {waiting.id: True, ended.id: True}
