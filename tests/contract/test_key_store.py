"""Keys and their usage, in every database."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from auricle.errors import InvalidOption, NotFound
from auricle.store.database import open_database
from auricle.store.key import ApiKey, DayUsage, hash_secret
from auricle.store.keys import KeyStore
from auricle.store.unavailable import StoreUnavailable
from auricle.store.usage import UsageStore

START = datetime(2030, 1, 1, tzinfo=UTC)
DAY = date(2030, 1, 1)


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url)
    yield engine
    engine.dispose()


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(database: Engine, clock: Clock) -> KeyStore:
    return KeyStore(database, now=clock)


def key(name: str, **more) -> ApiKey:
    return ApiKey(id=f"key_{name}", name=name, sha256=hash_secret(name), prefix=f"ak_{name}", **more)


def test_a_key_comes_back_as_it_was_kept(store: KeyStore) -> None:
    plain = store.add(key("plain"))
    full = key(
        "full",
        tier="free",
        limits="10/hour",
        priority="batch",
        models=("small", "org/repo"),
        is_admin=True,
        expires_at=START + timedelta(days=90),
    )
    assert store.add(full).models == ("small", "org/repo")
    assert {one.name: one for one in store.listing()} == {
        "plain": plain,
        "full": replace(full, created_at=START),
    }
    assert plain.models is None


def test_the_database_holds_no_key(database: Engine, store: KeyStore) -> None:
    store.add(ApiKey(id="key_1", name="one", sha256=hash_secret("ak_the-secret-itself"), prefix="ak_the-s"))
    with database.connect() as connection:
        rows = str(connection.execute(text("SELECT * FROM api_keys")).all())
    assert "the-secret-itself" not in rows
    assert hash_secret("ak_the-secret-itself") in rows


def test_a_name_belongs_to_one_valid_key(store: KeyStore, clock: Clock) -> None:
    store.add(key("ann", expires_at=START + timedelta(hours=1)))
    with pytest.raises(InvalidOption, match="already"):
        store.add(ApiKey(id="key_2", name="ann", sha256="2" * 64))
    clock.now += timedelta(hours=1)
    store.add(ApiKey(id="key_2", name="ann", sha256="2" * 64))
    store.revoke("ann")
    store.add(ApiKey(id="key_3", name="ann", sha256="3" * 64))
    assert [one.is_valid(clock.now) for one in store.listing()] == [False, False, True]


@pytest.mark.parametrize("name", ["ann", "key_ann", "ak_ann"])
def test_a_key_is_revoked_by_name_id_or_prefix_once(store: KeyStore, clock: Clock, name: str) -> None:
    store.add(key("ann"))
    store.add(key("bob"))
    clock.now += timedelta(days=1)
    assert store.revoke(name).revoked_at == clock.now
    with pytest.raises(NotFound):
        store.revoke(name)
    assert [one.name for one in store.listing() if one.is_valid(clock.now)] == ["bob"]


def test_a_prefix_of_several_keys_revokes_none(store: KeyStore, clock: Clock) -> None:
    for number in range(2):
        store.add(ApiKey(id=f"key_{number}", name=f"n{number}", sha256=str(number) * 64, prefix="ak_same"))
    with pytest.raises(InvalidOption, match="2 keys"):
        store.revoke("ak_same")
    assert all(one.is_valid(clock.now) for one in store.listing())


def test_changes_are_told_since_a_moment(store: KeyStore, clock: Clock) -> None:
    store.add(key("old"))
    found, moment = store.changed_since(None)
    assert [one.name for one in found] == ["old"]
    clock.now += timedelta(hours=1)
    _, moment = store.changed_since(moment)
    clock.now += timedelta(hours=1)
    store.add(key("new"))
    found, moment = store.changed_since(moment)
    assert [one.name for one in found] == ["new"]
    clock.now += timedelta(hours=1)
    _, moment = store.changed_since(moment)
    assert store.changed_since(moment)[0] == []
    store.revoke("old")
    assert [one.revoked_at for one in store.changed_since(moment)[0]] == [clock.now]


def test_a_change_by_a_machine_whose_clock_is_late_is_told(database: Engine, store: KeyStore, clock: Clock) -> None:
    _, moment = store.changed_since(None)
    KeyStore(database, now=lambda: START - timedelta(minutes=4)).add(key("late"))
    assert [one.name for one in store.changed_since(moment)[0]] == ["late"]


def test_usage_adds_up_by_owner_and_day(database: Engine) -> None:
    store = UsageStore(database)
    store.add([])
    store.add([DayUsage(owner="a", day=DAY, requests=2, audio_s=1.5, errors=1), DayUsage(owner="b", day=DAY)])
    store.add([DayUsage(owner="a", day=DAY, requests=3, audio_s=2.0)])
    store.add([DayUsage(owner="a", day=DAY + timedelta(days=1), requests=1)])
    assert store.read(since=DAY) == [
        DayUsage(owner="a", day=DAY + timedelta(days=1), requests=1),
        DayUsage(owner="a", day=DAY, requests=5, audio_s=3.5, errors=1),
        DayUsage(owner="b", day=DAY),
    ]
    assert [one.owner for one in store.read(since=DAY, owner="b")] == ["b"]
    assert [one.requests for one in store.read(since=DAY + timedelta(days=1))] == [1]


def test_nothing_is_lost_where_many_add_at_once(database: Engine) -> None:
    store = UsageStore(database)
    threads = [
        threading.Thread(target=lambda: store.add([DayUsage(owner="a", day=DAY, requests=1)])) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.requests for one in store.read(since=DAY)] == [20]


def test_a_database_that_does_not_work_is_told(database: Engine, store: KeyStore) -> None:
    with database.begin() as connection:
        connection.execute(text("DROP TABLE api_keys"))
        connection.execute(text("DROP TABLE usage"))
    usage = UsageStore(database)
    for call in (
        store.listing,
        lambda: store.add(key("a")),
        lambda: store.revoke("a"),
        lambda: store.changed_since(None),
        lambda: usage.add([DayUsage(owner="a", day=DAY)]),
        lambda: usage.read(since=DAY),
    ):
        with pytest.raises(StoreUnavailable):
            call()
