"""All tables. A change here needs a migration in ``migrations/versions`` and a new ``SCHEMA_VERSION``."""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

SCHEMA_VERSION = "0004"
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
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    },
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

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("owner", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("model", Text),
    Column("options", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("webhook", Text),
    Column("metadata", Text),
    Column("idempotency_key", String(255)),
    Column("request_hash", String(64), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("progress", Float, nullable=False),
    Column("audio_s", Float),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("expires_at", UtcDateTime, index=True),
    Column("error_code", String(64)),
    Column("error_message", Text),
    Column("result_size", Integer),
    Column("place", String(36)),
    Column("next_at", UtcDateTime, nullable=False),
    Column("runner", String(64)),
    Column("lease_until", UtcDateTime),
    Column("has_begun", Boolean, nullable=False),
    Column("run_key", String(64)),
    UniqueConstraint("owner", "idempotency_key"),
    Index(None, "status", "priority", "id"),
    Index(None, "owner", "id"),
)
"""Accepted work. ``options``, ``source``, ``webhook`` and ``metadata`` are JSON. Only runners at
``place`` have the audio; anybody can fetch that of a job without one. A queued job waits for ``next_at``; a running
one belongs to ``runner`` until ``lease_until``. ``failures`` and ``crashes`` count runs in a row without
progress; ``has_begun`` says that the run has its model and works on the audio; parts belong to ``run_key``."""

job_parts = Table(
    "job_parts",
    metadata,
    Column("job_id", String(36), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
)
"""Finished clips of a job that has not ended, so that another run goes on from there."""

job_results = Table(
    "job_results",
    metadata,
    Column("job_id", String(36), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
"""Transcripts of jobs; ``version`` is that of the body's shape."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("job_id", String(36), nullable=False, index=True),
    Column("owner", String(64), nullable=False),
    Column("url", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("headers", JSON, nullable=False),
    Column("secret", Text),
    Column("body", LargeBinary, nullable=False),
    Column("status", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("last_status", Integer),
    Column("last_error", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("delivered_at", UtcDateTime),
    Index(None, "status", "next_at"),
)
"""Webhook messages: ``body`` is the bytes as sent, ``status`` pending, delivered or failed. A row is written in the
transaction that ends its job."""

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("tier", String(64)),
    Column("limits", Text, nullable=False),
    Column("priority", String(16)),
    Column("models", JSON(none_as_null=True)),
    Column("is_admin", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("changed_at", UtcDateTime, nullable=False, index=True),
    UniqueConstraint("sha256"),
)
"""API keys by their hash. ``models`` is a list of names, null for all; ``changed_at`` tells servers what to read."""

usage = Table(
    "usage",
    metadata,
    Column("owner", String(64), primary_key=True),
    Column("day", Date, primary_key=True, index=True),
    Column("requests", Integer, nullable=False),
    Column("audio_s", Float, nullable=False),
    Column("errors", Integer, nullable=False),
)
"""What the owner of a key used on a day (UTC)."""

voices = Table(
    "voices",
    metadata,
    Column("owner", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("voice", LargeBinary, nullable=False),
)
"""Voices that have a name, as vectors of float32."""
