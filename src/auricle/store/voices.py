"""Voices that owners have stored under names."""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, delete, func, insert, select

from auricle.errors import InvalidOption, NotFound
from auricle.store.database import translate_errors, writing
from auricle.store.tables import voices
from auricle.store.transcripts import utc_now

MAX_VOICES = 1000
"""Of one owner."""

_table = voices.c


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVoice:
    """A voice that its owner calls ``name``; the vector itself is for comparing only."""

    name: str
    created_at: datetime


class VoiceStore:
    """Blocks; threads may share it. Every method raises StoreUnavailable where the database does not work."""

    def __init__(self, engine: Engine, *, now: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._now = now

    def put(self, owner: str, name: str, voice: Sequence[float]) -> StoredVoice:
        """Keep the voice, in place of what had its name. Raises InvalidOption for more than an owner may have."""
        stored = StoredVoice(name=name, created_at=self._now())
        with translate_errors(), writing(self._engine).begin() as connection:
            connection.execute(delete(voices).where(_table.owner == owner, _table.name == name))
            count = connection.execute(select(func.count()).where(_table.owner == owner)).scalar_one()
            if count >= MAX_VOICES:
                raise InvalidOption(f"there are {count} voices already, which is the most; remove some", param="name")
            body = array("f", voice).tobytes()
            row = {"owner": owner, "name": name, "created_at": stored.created_at, "voice": body}
            connection.execute(insert(voices).values(row))
        return stored

    def listing(self, owner: str) -> list[StoredVoice]:
        """The voices of an owner, by name."""
        query = select(_table.name, _table.created_at).where(_table.owner == owner).order_by(_table.name)
        with translate_errors(), self._engine.connect() as connection:
            return [StoredVoice(name=row.name, created_at=row.created_at) for row in connection.execute(query)]

    def find(self, owner: str, names: Sequence[str]) -> dict[str, tuple[float, ...]]:
        """Those of the voices that there are."""
        query = select(_table.name, _table.voice).where(_table.owner == owner, _table.name.in_(names))
        with translate_errors(), self._engine.connect() as connection:
            return {row.name: tuple(array("f", row.voice)) for row in connection.execute(query)}

    def delete(self, owner: str, name: str) -> None:
        """Forget the voice. Raises NotFound."""
        with translate_errors(), writing(self._engine).begin() as connection:
            found = connection.execute(delete(voices).where(_table.owner == owner, _table.name == name))
            if not found.rowcount:
                raise NotFound(f"There is no voice {name[:64]!r}.")
