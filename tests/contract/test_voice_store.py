"""Stored voices, in every database."""

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest
from sqlalchemy import Engine, text

from auricle.errors import InvalidOption, NotFound
from auricle.store import voices
from auricle.store.database import open_database
from auricle.store.unavailable import StoreUnavailable
from auricle.store.voices import StoredVoice, VoiceStore

NOW = datetime(2030, 1, 1, tzinfo=UTC)
VOICE = tuple(np.linspace(-1, 1, 256, dtype=np.float32).tolist())
OTHER = VOICE[::-1]


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def store(database: Engine) -> VoiceStore:
    return VoiceStore(database, now=lambda: NOW)


def test_a_voice_comes_back_as_it_was_kept(store: VoiceStore) -> None:
    assert store.put("ann", "Zoë 李", VOICE) == StoredVoice(name="Zoë 李", created_at=NOW)
    assert store.find("ann", ["Zoë 李", "nobody"]) == {"Zoë 李": VOICE}
    assert store.listing("ann") == [StoredVoice(name="Zoë 李", created_at=NOW)]


def test_a_new_voice_takes_the_place_of_the_one_with_its_name(store: VoiceStore) -> None:
    store.put("ann", "Bob", VOICE)
    store.put("ann", "Bob", OTHER)
    assert store.find("ann", ["Bob"]) == {"Bob": OTHER}
    assert len(store.listing("ann")) == 1


def test_owners_do_not_see_one_another(store: VoiceStore) -> None:
    store.put("ann", "Bob", VOICE)
    assert store.find("eve", ["Bob"]) == {}
    assert store.listing("") == []
    with pytest.raises(NotFound):
        store.delete("eve", "Bob")
    assert store.find("ann", ["Bob"]) == {"Bob": VOICE}


def test_a_voice_that_is_deleted_is_gone(store: VoiceStore) -> None:
    store.put("ann", "Bob", VOICE)
    store.delete("ann", "Bob")
    assert store.listing("ann") == []
    with pytest.raises(NotFound, match="Bob"):
        store.delete("ann", "Bob")


def test_an_owner_has_no_more_voices_than_allowed(store: VoiceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voices, "MAX_VOICES", 2)
    for name in ("a", "b", "b"):
        store.put("ann", name, VOICE)
    with pytest.raises(InvalidOption):
        store.put("ann", "c", VOICE)
    store.put("bob", "c", VOICE)
    assert [one.name for one in store.listing("ann")] == ["a", "b"]


def test_a_database_that_does_not_work_is_told(store: VoiceStore, database: Engine) -> None:
    with database.begin() as connection:
        connection.execute(text("DROP TABLE voices"))
    for call in (lambda: store.listing(""), lambda: store.find("", ["a"]), lambda: store.put("", "a", VOICE)):
        with pytest.raises(StoreUnavailable):
            call()
