"""The kept transcripts: what is found again, and what has to go."""

import sqlite3
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import QueuePool, select

from auricle.store import transcripts as module
from auricle.store.database import open_database, sqlite_url
from auricle.store.opening import erase_transcripts, open_transcripts
from auricle.store.tables import transcripts
from auricle.store.transcripts import TranscriptStore
from auricle.store.unavailable import StoreUnavailable
from auricle.types import Dropped, Segment, Timings, TokenLogprob, Transcript, Word


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[TranscriptStore]:
    engine = open_database(sqlite_url(tmp_path / "a.db"))
    opened = TranscriptStore(engine, max_age=timedelta(hours=1), max_bytes=10_000, now=clock)
    yield opened
    opened.close()


def transcript(text: str = "Grüße, 世界!") -> Transcript:
    word = Word(word=text, start=0.1, end=0.9, probability=0.75)
    logprob = TokenLogprob(token="世", bytes=(228, 184, 150), logprob=-0.25)
    segment = Segment(
        id=0, start=0.0, end=1.0, text=text, tokens=(1, 2, 50364), words=(word,), logprobs=(logprob,), language="de"
    )
    return Transcript(
        text=text,
        segments=(segment,),
        language="de",
        duration=2.5,
        task="translate",
        language_probability=0.5,
        dropped=(Dropped(start=1.0, end=2.5, reason="silence"),),
        warnings=("one",),
        timings=Timings(decode=0.1, total=0.3, windows=2),
    )


def put(store: TranscriptStore, key: str, *, size: int = 0, words: bool = True, logprobs: bool = True) -> None:
    store.put(key, transcript(random_text(size) if size else "text"), words=words, logprobs=logprobs)


def random_text(size: int) -> str:
    """Text that does not compress below ``size`` bytes."""
    import random

    return random.Random(size).randbytes(size).hex()


def has(store: TranscriptStore, key: str) -> bool:
    return store.get(key, words=False, logprobs=False) is not None


def test_a_transcript_comes_back_as_it_was(store: TranscriptStore) -> None:
    store.put("k", transcript(), words=True, logprobs=True)
    assert store.get("k", words=True, logprobs=True) == transcript()
    assert store.get("other", words=False, logprobs=False) is None


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("logprobs", [False, True])
def test_a_transcript_without_what_is_asked_for_is_not_found(
    store: TranscriptStore, words: bool, logprobs: bool
) -> None:
    put(store, "k", words=words, logprobs=logprobs)
    assert (store.get("k", words=True, logprobs=False) is not None) == words
    assert (store.get("k", words=False, logprobs=True) is not None) == logprobs
    assert store.get("k", words=False, logprobs=False) is not None


def test_a_new_transcript_takes_the_place_of_the_old_one(store: TranscriptStore) -> None:
    store.put("k", transcript("old"), words=True, logprobs=True)
    store.put("k", transcript("new"), words=False, logprobs=False)
    found = store.get("k", words=False, logprobs=False)
    assert found is not None
    assert found.text == "new"
    assert store.get("k", words=True, logprobs=False) is None


def test_a_transcript_is_found_until_it_is_too_old_and_then_purged(store: TranscriptStore, clock: Clock) -> None:
    put(store, "old")
    clock.advance(3599)
    put(store, "new")
    assert has(store, "old")
    clock.advance(1)
    assert not has(store, "old")
    assert has(store, "new")
    store.purge()
    assert keys(store) == {"new"}


def test_use_does_not_make_a_transcript_younger(store: TranscriptStore, clock: Clock) -> None:
    put(store, "k")
    for _ in range(4):
        clock.advance(900)
        found = has(store, "k")
    assert not found


def test_the_least_recently_used_go_when_there_is_no_room(store: TranscriptStore, clock: Clock) -> None:
    for key in "abc":
        put(store, key, size=1800)
        clock.advance(1)
    assert keys(store) == {"a", "b", "c"}
    assert has(store, "a")
    clock.advance(1)
    put(store, "d", size=1800)
    assert keys(store) == {"a", "c", "d"}
    assert store.size_bytes <= 10_000


def test_a_transcript_larger_than_the_store_is_not_kept(store: TranscriptStore) -> None:
    put(store, "small")
    put(store, "large", size=20_000)
    assert keys(store) == {"small"}


def test_many_small_transcripts_stay_within_the_limit(store: TranscriptStore) -> None:
    for index in range(200):
        put(store, f"k{index}")
        assert store.size_bytes <= 10_000
    assert has(store, "k199")


def test_other_shapes_are_ignored_and_purged(store: TranscriptStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "k")
    monkeypatch.setattr(module, "BODY_VERSION", 2)
    assert not has(store, "k")
    store.purge()
    assert keys(store) == set()


def test_a_spoiled_body_is_a_transcript_that_is_not_there(store: TranscriptStore, tmp_path: Path) -> None:
    put(store, "k")
    connection = sqlite3.connect(tmp_path / "a.db")
    for body in (b"nonsense", zlib.compress(b'{"text": 1}')):
        connection.execute("UPDATE transcripts SET body = ?", (body,))
        connection.commit()
        assert not has(store, "k")
    connection.close()
    put(store, "k")
    assert has(store, "k")


def test_what_was_used_is_known_after_a_restart(tmp_path: Path) -> None:
    store = open_transcripts(tmp_path, max_age_s=3600, max_bytes=10_000)
    put(store, "first")
    put(store, "second")
    assert has(store, "first")
    store.close()
    again = open_transcripts(tmp_path, max_age_s=3600, max_bytes=10_000)
    with again._engine.connect() as connection:
        ordered = connection.execute(select(transcripts.c.key).order_by(transcripts.c.used_at)).scalars().all()
    assert ordered == ["second", "first"]
    assert again.size_bytes > 0
    again.close()


def test_a_smaller_limit_holds_from_the_start(tmp_path: Path) -> None:
    store = open_transcripts(tmp_path, max_age_s=3600, max_bytes=10_000)
    for key in "abc":
        put(store, key, size=1000)
    store.close()
    again = open_transcripts(tmp_path, max_age_s=3600, max_bytes=5_000)
    assert again.size_bytes <= 5_000
    again.close()


def test_erasing_leaves_nothing_of_a_transcript_in_any_file(tmp_path: Path) -> None:
    store = open_transcripts(tmp_path, max_age_s=3600, max_bytes=10_000)
    put(store, "k")
    with store._engine.connect() as connection:
        body = connection.execute(select(transcripts.c.body)).scalar_one()
    store.close()
    assert any(body in path.read_bytes() for path in tmp_path.iterdir())
    erase_transcripts(tmp_path)
    assert not any(body in path.read_bytes() for path in tmp_path.iterdir())


def test_erasing_makes_no_database(tmp_path: Path) -> None:
    erase_transcripts(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_is_gone_is_an_error_without_the_text(store: TranscriptStore, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "a.db")
    connection.execute("ALTER TABLE transcripts RENAME TO others")
    connection.close()
    with pytest.raises(StoreUnavailable) as caught:
        store.put("k", transcript("secret words"), words=True, logprobs=True)
    assert "secret" not in f"{caught.value} {caught.value.__cause__}"
    with pytest.raises(StoreUnavailable):
        has(store, "k")


def test_no_connection_stays_open(store: TranscriptStore) -> None:
    for index in range(20):
        put(store, f"k{index}")
        has(store, f"k{index}")
        has(store, "none")
    store.purge()
    pool = store._engine.pool
    assert isinstance(pool, QueuePool)
    assert pool.checkedout() == 0


def keys(store: TranscriptStore) -> set[str]:
    with store._engine.connect() as connection:
        return set(connection.execute(select(transcripts.c.key)).scalars())
