"""Deliveries in the database: claimed once, tried again, kept apart by owner."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from auricle.store.database import open_database, sqlite_url, writing
from auricle.store.deliveries import ClaimedDelivery, DeliveryStore, add_delivery, delete_deliveries

LEASE = timedelta(seconds=60)


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2026, 11, 20, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def pass_s(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("deliveries") / "empty.db"
    open_database(sqlite_url(path)).dispose()
    return path


@pytest.fixture
def engine(tmp_path: Path, empty_database: Path) -> Engine:
    return open_database(sqlite_url(Path(shutil.copy(empty_database, tmp_path / "auricle.db"))))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(engine: Engine, clock: Clock) -> DeliveryStore:
    return DeliveryStore(engine, now=clock)


def add(
    engine: Engine,
    clock: Clock,
    *,
    url: str = "https://a.test/hook",
    job_id: str = "job",
    owner: str = "",
    secret: str | None = None,
) -> str:
    with writing(engine).begin() as connection:
        return add_delivery(
            connection,
            job_id=job_id,
            owner=owner,
            url=url,
            headers={"x-task": "1"},
            secret=secret,
            body=b'{"a": 1}\n',
            now=clock(),
        )


def claim(store: DeliveryStore, limit: int = 10, per_host: int = 10, **in_flight: int) -> list[ClaimedDelivery]:
    hosts = {name.replace("_", "."): count for name, count in in_flight.items()}
    return store.claim_due(limit=limit, per_host=per_host, in_flight=hosts, lease=LEASE)


def test_a_delivery_is_due_at_once_and_comes_as_it_was_added(
    engine: Engine, store: DeliveryStore, clock: Clock
) -> None:
    delivery_id = add(engine, clock, url="https://User@A.test:8443/hook?x=1", secret="whsec_x")
    (claimed,) = claim(store)
    assert claimed == ClaimedDelivery(
        id=delivery_id,
        url="https://User@A.test:8443/hook?x=1",
        host="a.test",
        headers={"x-task": "1"},
        secret="whsec_x",
        body=b'{"a": 1}\n',
        attempts=1,
        expires_at=clock() + timedelta(days=1),
    )


def test_a_transaction_that_fails_leaves_no_delivery(engine: Engine, store: DeliveryStore, clock: Clock) -> None:
    with pytest.raises(RuntimeError), writing(engine).begin() as connection:
        add_delivery(
            connection, job_id="j", owner="", url="https://a.test", headers={}, secret=None, body=b"", now=clock()
        )
        raise RuntimeError
    assert claim(store) == []


def test_what_is_claimed_is_left_alone_until_the_lease_is_over(
    engine: Engine, store: DeliveryStore, clock: Clock
) -> None:
    add(engine, clock)
    assert len(claim(store)) == 1
    clock.pass_s(59)
    assert claim(store) == []
    clock.pass_s(1)
    assert [one.attempts for one in claim(store)] == [2]


def test_many_who_claim_at_once_never_get_the_same(engine: Engine, store: DeliveryStore, clock: Clock) -> None:
    added = {add(engine, clock) for _ in range(60)}
    others = [DeliveryStore(engine, now=clock) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        rounds = list(threads.map(lambda number: claim(others[number % 4], limit=3), range(40)))
    claimed = [one.id for one_round in rounds for one in one_round]
    assert sorted(claimed) == sorted(added)


def test_a_failed_try_waits_for_its_time(engine: Engine, store: DeliveryStore, clock: Clock) -> None:
    add(engine, clock)
    (claimed,) = claim(store)
    store.mark_failed(claimed, status=503, error="x" * 1000, retry_at=clock() + timedelta(seconds=10))
    clock.pass_s(9)
    assert claim(store) == []
    (known,) = store.list_for_job("job", owner="")
    assert (known.status, known.attempts, known.last_status) == ("pending", 1, 503)
    assert known.last_error == "x" * 300
    assert store.next_due(per_host=4, in_flight={}) == clock() + timedelta(seconds=1)
    clock.pass_s(1)
    (again,) = claim(store)
    store.mark_delivered(again, status=200)
    (known,) = store.list_for_job("job", owner="")
    assert (known.status, known.attempts, known.last_status, known.last_error) == ("delivered", 2, 200, None)
    assert known.delivered_at == clock()
    assert store.next_due(per_host=4, in_flight={}) is None


def test_what_is_given_up_is_never_due(engine: Engine, store: DeliveryStore, clock: Clock) -> None:
    add(engine, clock)
    store.mark_failed(claim(store)[0], status=410, error="gone", retry_at=None)
    clock.pass_s(1e6)
    assert claim(store) == []
    assert store.list_for_job("job", owner="")[0].status == "failed"


def test_redelivery_makes_it_due_for_another_day(engine: Engine, store: DeliveryStore, clock: Clock) -> None:
    delivery_id = add(engine, clock)
    store.mark_delivered(claim(store)[0], status=200)
    clock.pass_s(1e6)
    known = store.redeliver(delivery_id, owner="")
    assert known is not None
    assert (known.status, known.attempts) == ("pending", 0)
    (claimed,) = claim(store)
    assert claimed.expires_at == clock() + timedelta(days=1)


def test_a_try_that_was_overtaken_changes_nothing(engine: Engine, store: DeliveryStore, clock: Clock) -> None:
    delivery_id = add(engine, clock)
    (slow,) = claim(store)
    store.redeliver(delivery_id, owner="")
    store.mark_delivered(slow, status=200)
    assert store.list_for_job("job", owner="")[0].status == "pending"
    clock.pass_s(60)
    (first,) = claim(store)
    clock.pass_s(60)
    (second,) = claim(store)
    store.mark_failed(first, status=410, error="gone", retry_at=None)
    store.mark_delivered(second, status=200)
    assert store.list_for_job("job", owner="")[0].status == "delivered"


def test_owners_see_and_redeliver_their_own_only(engine: Engine, store: DeliveryStore, clock: Clock) -> None:
    delivery_id = add(engine, clock, owner="a")
    assert store.list_for_job("job", owner="b") == []
    assert store.redeliver(delivery_id, owner="b") is None
    assert store.redeliver("none", owner="a") is None
    assert [one.id for one in store.list_for_job("job", owner="a")] == [delivery_id]
    assert [one.id for one in store.list_for_job("job", owner=None)] == [delivery_id]


def test_a_host_gets_no_more_than_its_share(engine: Engine, store: DeliveryStore, clock: Clock) -> None:
    for _ in range(20):
        add(engine, clock, url="https://slow.test/a")
    clock.pass_s(1)
    add(engine, clock, url="https://fast.test/a")
    assert [one.host for one in claim(store, limit=10, per_host=4)] == ["slow.test"] * 4
    assert [one.host for one in claim(store, limit=10, per_host=4, slow_test=4)] == ["fast.test"]
    assert [one.host for one in claim(store, limit=10, per_host=4, slow_test=3)] == ["slow.test"]
    assert store.next_due(per_host=4, in_flight={"slow.test": 3}) is not None
    assert store.next_due(per_host=4, in_flight={"slow.test": 4}) == clock() + LEASE


def test_deliveries_are_forgotten_with_their_jobs(engine: Engine, store: DeliveryStore, clock: Clock) -> None:
    for job_id in ("a", "b", "c"):
        add(engine, clock, job_id=job_id)
    with writing(engine).begin() as connection:
        delete_deliveries(connection, ["a", "c"])
    assert [len(store.list_for_job(job_id, owner="")) for job_id in ("a", "b", "c")] == [0, 1, 0]
