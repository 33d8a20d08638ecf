"""The stores that the settings want, in one database: that of the data folder, or one by its URL."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Engine, delete

from auricle.store import DATABASE_NAME
from auricle.store.database import open_database, sqlite_url, translate_errors, writing
from auricle.store.deliveries import DeliveryStore
from auricle.store.job_runs import RunStore
from auricle.store.jobs import JobStore
from auricle.store.keys import KeyStore
from auricle.store.tables import transcripts
from auricle.store.transcripts import TranscriptStore
from auricle.store.usage import UsageStore
from auricle.store.voices import VoiceStore


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStores:
    """All that is kept of jobs."""

    jobs: JobStore
    runs: RunStore
    deliveries: DeliveryStore


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountStores:
    """All that is kept of keys and their owners."""

    engine: Engine
    keys: KeyStore
    usage: UsageStore
    voices: VoiceStore

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()


def open_jobs(folder: Path, *, url: str = "") -> JobStores:
    """The jobs of the database at ``url``, or where that is empty of the one in ``folder``.

    Blocks; raises StoreUnavailable.
    """
    engine = open_database(_prepared(folder, url))
    return JobStores(jobs=JobStore(engine), runs=RunStore(engine), deliveries=DeliveryStore(engine))


def open_account_stores(folder: Path, *, url: str = "") -> AccountStores:
    """The keys of the same database; see ``open_jobs``."""
    engine = open_database(_prepared(folder, url))
    return AccountStores(engine=engine, keys=KeyStore(engine), usage=UsageStore(engine), voices=VoiceStore(engine))


def open_transcripts(folder: Path, *, url: str = "", max_age_s: float, max_bytes: int) -> TranscriptStore:
    """The transcripts kept there, purged; see ``open_jobs``."""
    engine = open_database(_prepared(folder, url))
    store = TranscriptStore(engine, max_age=timedelta(seconds=max_age_s), max_bytes=max_bytes)
    store.purge()
    return store


def erase_transcripts(folder: Path, *, url: str = "") -> None:
    """Leave nothing of earlier transcripts there, the write-ahead log of SQLite included.

    Blocks; raises StoreUnavailable. Where there is no database in the folder, none is made.
    """
    if not url and not (folder / DATABASE_NAME).exists():
        return
    engine = open_database(_prepared(folder, url))
    try:
        with translate_errors():
            with writing(engine).begin() as connection:
                connection.execute(delete(transcripts))
            if engine.dialect.name == "sqlite":
                with engine.connect() as connection:
                    raw = connection.connection.cursor()
                    raw.execute("VACUUM")
                    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    raw.close()
    finally:
        engine.dispose()


def _prepared(folder: Path, url: str) -> str:
    if url:
        return url
    with translate_errors():
        folder.mkdir(parents=True, exist_ok=True)
    return sqlite_url(folder / DATABASE_NAME)
