"""The store of a data folder, as the settings want it."""

from datetime import timedelta
from pathlib import Path

from sqlalchemy import delete

from auricle.store.database import open_database, sqlite_url, translate_errors, writing
from auricle.store.tables import transcripts
from auricle.store.transcripts import TranscriptStore

DATABASE_NAME = "auricle.db"


def open_transcripts(folder: Path, *, max_age_s: float, max_bytes: int) -> TranscriptStore:
    """The transcripts kept in ``folder``, purged. Blocks; raises StoreUnavailable."""
    with translate_errors():
        folder.mkdir(parents=True, exist_ok=True)
    engine = open_database(sqlite_url(folder / DATABASE_NAME))
    store = TranscriptStore(engine, max_age=timedelta(seconds=max_age_s), max_bytes=max_bytes)
    store.purge()
    return store


def erase_transcripts(folder: Path) -> None:
    """Leave nothing of earlier transcripts in ``folder``, its write-ahead log included.

    Blocks; raises StoreUnavailable. Where there is no database, none is made.
    """
    path = folder / DATABASE_NAME
    if not path.exists():
        return
    engine = open_database(sqlite_url(path))
    try:
        with translate_errors():
            with writing(engine).begin() as connection:
                connection.execute(delete(transcripts))
            with engine.connect() as connection:
                raw = connection.connection.cursor()
                raw.execute("VACUUM")
                raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                raw.close()
    finally:
        engine.dispose()
