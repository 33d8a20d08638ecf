"""A database by its URL, brought up to date when it is opened."""

import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from auricle.store.tables import SCHEMA_VERSION
from auricle.store.unavailable import StoreUnavailable

MIGRATIONS = Path(__file__).parent / "migrations"

_BUSY_S = 5.0
"""How long a connection waits for others to finish writing."""
_CONNECT_S = 10
"""How long a database on the network may take to answer."""
_MIGRATION_LOCK = 0x41555249
"""Any number that no other program locks in the same PostgreSQL database."""
_PRAGMAS = (
    "synchronous=FULL",  # what was committed survives a power cut
    "foreign_keys=ON",
    "secure_delete=ON",  # deleted text is overwritten, not only forgotten
)


def sqlite_url(path: Path) -> str:
    """The URL of a database in a file."""
    return f"sqlite:///{path}"


def open_database(url: str) -> Engine:
    """The database at ``url``, with the newest schema. Blocks; threads may share the engine.

    Several processes may open a fresh file at the same time. Raises StoreUnavailable where it cannot be opened, is
    damaged, or was written by a newer version of Auricle.
    """
    with translate_errors():
        engine = _connect(url)
    is_sqlite = engine.dialect.name == "sqlite"
    try:
        with translate_errors():
            if is_sqlite:
                _use_write_ahead_log(engine)
            if _version(engine) != SCHEMA_VERSION:
                with writing(engine).begin() as connection:
                    _lock_migrations(connection)
                    upgrade(connection)
    except StoreUnavailable:
        engine.dispose()
        raise
    return engine


def _connect(url: str) -> Engine:
    place = make_url(url)
    # Errors must not carry parameters, which are what people said.
    if place.get_backend_name() == "sqlite":
        engine = create_engine(place, hide_parameters=True, connect_args={"timeout": _BUSY_S})
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)
        return engine
    if place.drivername in {"postgres", "postgresql"}:
        place = place.set(drivername="postgresql+psycopg")
    # Connections that a restart of the database broke are found before they are used.
    return create_engine(place, hide_parameters=True, pool_pre_ping=True, connect_args={"connect_timeout": _CONNECT_S})


def writing(engine: Engine) -> Engine:
    """The same engine for transactions that write.

    SQLite locks at their start then: a reader that turns into a writer would be refused without a wait.
    """
    return engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")


@contextmanager
def translate_errors() -> Generator[None]:
    """Errors of the database, and of a driver that is not installed, come out as StoreUnavailable."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError, ImportError) as exc:
        raise StoreUnavailable(str(getattr(exc, "orig", None) or exc)) from exc


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the schema to ``revision`` within the connection's transaction. Raises StoreUnavailable."""
    # Alembic takes half a second to import, and most starts find the schema as it should be.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util.exc import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as exc:
        raise StoreUnavailable(f"the schema cannot be upgraded; a newer version of Auricle wrote it? {exc}") from exc


def _version(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not engine.dialect.has_table(connection, "alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _lock_migrations(connection: Connection) -> None:
    """One process migrates at a time; in SQLite the transaction is lock enough."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _MIGRATION_LOCK})


def _use_write_ahead_log(engine: Engine) -> None:
    """Readers and a writer do not wait for one another then. The file remembers it."""
    end = time.monotonic() + _BUSY_S
    with closing(engine.raw_connection()) as connection:
        while True:
            try:
                connection.cursor().execute("PRAGMA journal_mode=WAL").close()
            except sqlite3.OperationalError:
                # SQLite does not wait for the lock here: another process opens the same fresh file.
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)
            else:
                return


def _on_connect(connection: Any, record: object) -> None:
    # Python would begin transactions by itself, but too late: not before reads and changes of the schema.
    connection.isolation_level = None
    with closing(connection.cursor()) as cursor:
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))
