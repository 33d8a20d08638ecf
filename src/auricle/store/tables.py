"""All tables. A change here needs a migration in ``migrations/versions`` and a new ``SCHEMA_VERSION``."""

from datetime import UTC, datetime

from sqlalchemy import Boolean, Column, DateTime, Dialect, Integer, LargeBinary, MetaData, String, Table
from sqlalchemy.types import TypeDecorator

SCHEMA_VERSION = "0001"
"""Newest revision of the migrations."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time. It is kept as UTC without a zone, since SQLite has none."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


metadata = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s"},
)

transcripts = Table(
    "transcripts",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("created_at", UtcDateTime, nullable=False, index=True),
    Column("used_at", UtcDateTime, nullable=False, index=True),
    Column("size_bytes", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("has_words", Boolean, nullable=False),
    Column("has_logprobs", Boolean, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""Results by the hash of all that they depend on; ``version`` is that of the body's shape."""
