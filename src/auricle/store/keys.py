"""The API keys of the database. Rows are never deleted, so that what belongs to a key keeps its name."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, insert, select, update

from auricle.errors import InvalidOption, NotFound
from auricle.store.database import translate_errors, writing
from auricle.store.key import ApiKey
from auricle.store.tables import api_keys
from auricle.store.transcripts import utc_now

_CLOCKS_DIFFER = timedelta(minutes=5)
"""Those of the machines that share a database, at most."""

_table = api_keys.c


class KeyStore:
    """Blocks; threads may share it. Every method raises StoreUnavailable where the database does not work."""

    def __init__(self, engine: Engine, *, now: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self._now = now

    def add(self, key: ApiKey) -> ApiKey:
        """Keep a new key; returns it with its time of creation. Raises InvalidOption where its name is in use."""
        now = self._now()
        with translate_errors(), writing(self._engine).begin() as connection:
            if _valid(connection, key.name, now):
                raise InvalidOption(f"there is a key named {key.name!r} already; revoke it first", param="name")
            connection.execute(
                insert(api_keys).values(
                    id=key.id,
                    name=key.name,
                    sha256=key.sha256,
                    prefix=key.prefix,
                    tier=key.tier,
                    limits=key.limits,
                    priority=key.priority,
                    models=None if key.models is None else list(key.models),
                    is_admin=key.is_admin,
                    created_at=now,
                    expires_at=key.expires_at,
                    changed_at=now,
                )
            )
            row = connection.execute(select(api_keys).where(_table.id == key.id)).one()
        return _key(row)

    def revoke(self, name: str) -> ApiKey:
        """Have the valid key with this name, id or prefix let nobody in any more. Raises NotFound, and InvalidOption
        where a prefix is that of several keys."""
        now = self._now()
        with translate_errors(), writing(self._engine).begin() as connection:
            found = _valid(connection, name, now)
            if not found:
                raise NotFound(f"there is no valid key {name[:100]!r} in the database; `auricle keys list` shows all")
            if len(found) > 1:
                raise InvalidOption(f"{name!r} is the beginning of {len(found)} keys; give the name or the id of one")
            change = update(api_keys).where(_table.id == found[0].id)
            connection.execute(change.values(revoked_at=now, changed_at=now))
            row = connection.execute(select(api_keys).where(_table.id == found[0].id)).one()
        return _key(row)

    def listing(self) -> list[ApiKey]:
        """Every key that there ever was, the oldest first."""
        with translate_errors(), self._engine.connect() as connection:
            return [_key(row) for row in connection.execute(select(api_keys).order_by(_table.created_at, _table.id))]

    def changed_since(self, moment: datetime | None) -> tuple[list[ApiKey], datetime]:
        """Keys that are new or different since ``moment``, and what to give as ``moment`` the next time.

        Some may come again. None gives all.
        """
        now = self._now()
        query = select(api_keys).order_by(_table.changed_at)
        if moment is not None:
            query = query.where(_table.changed_at >= moment - _CLOCKS_DIFFER)
        with translate_errors(), self._engine.connect() as connection:
            return [_key(row) for row in connection.execute(query)], now


def _valid(connection: Connection, name: str, now: datetime) -> list[ApiKey]:
    """Valid keys that are called ``name``, or have that id, or that prefix."""
    is_meant = (_table.name == name) | (_table.id == name) | (_table.prefix == name)
    keys = [_key(row) for row in connection.execute(select(api_keys).where(is_meant, _table.revoked_at.is_(None)))]
    named = [key for key in keys if name in {key.name, key.id}]
    return [key for key in named or keys if key.is_valid(now)]


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        sha256=row.sha256,
        prefix=row.prefix,
        tier=row.tier,
        limits=row.limits,
        priority=row.priority,
        models=None if row.models is None else tuple(row.models),
        is_admin=row.is_admin,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
