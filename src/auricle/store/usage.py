"""What each key has used on each day."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import date

from sqlalchemy import Engine, select
from sqlalchemy.dialects import postgresql, sqlite

from auricle.store.database import translate_errors, writing
from auricle.store.key import DayUsage
from auricle.store.tables import usage


class UsageStore:
    """Blocks; threads may share it. Every method raises StoreUnavailable where the database does not work."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, counts: Iterable[DayUsage]) -> None:
        """Add to what is there, all or nothing; each owner and day at most once."""
        rows = [asdict(count) for count in counts]
        if not rows:
            return
        # The two have the same words for it, but SQLAlchemy none for both.
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        statement = insert(usage)
        columns = ("requests", "audio_s", "errors")
        sums = {name: usage.c[name] + statement.excluded[name] for name in columns}
        with translate_errors(), writing(self._engine).begin() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["owner", "day"], set_=sums), rows)

    def read(self, *, since: date, owner: str | None = None) -> list[DayUsage]:
        """From the day ``since`` on, of one owner or of all; the newest day first."""
        query = select(usage).where(usage.c.day >= since).order_by(usage.c.day.desc(), usage.c.owner)
        if owner is not None:
            query = query.where(usage.c.owner == owner)
        with translate_errors(), self._engine.connect() as connection:
            return [
                DayUsage(owner=row.owner, day=row.day, requests=row.requests, audio_s=row.audio_s, errors=row.errors)
                for row in connection.execute(query)
            ]
