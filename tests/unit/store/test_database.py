"""Opening a database: fresh, old, damaged, and by several processes at once."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, text

from auricle.store import database
from auricle.store.database import open_database, sqlite_url, upgrade, writing
from auricle.store.tables import SCHEMA_VERSION, metadata
from auricle.store.unavailable import StoreUnavailable


def migrations() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    return ScriptDirectory.from_config(config)


REVISIONS = [script.revision for script in migrations().walk_revisions()]


def differences(engine: Engine) -> list:
    with engine.connect() as connection:
        return compare_metadata(MigrationContext.configure(connection), metadata)


def test_a_fresh_database_has_the_tables_of_the_code(tmp_path: Path) -> None:
    engine = open_database(sqlite_url(tmp_path / "a.db"))
    assert differences(engine) == []
    engine.dispose()


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_older_version_is_upgraded(tmp_path: Path, revision: str) -> None:
    url = sqlite_url(tmp_path / "a.db")
    old = create_engine(url)
    with old.begin() as connection:
        upgrade(connection, revision)
    old.dispose()
    engine = open_database(url)
    assert differences(engine) == []
    engine.dispose()


def test_the_schema_version_is_that_of_the_newest_migration() -> None:
    assert migrations().get_current_head() == SCHEMA_VERSION


def test_opening_again_finds_the_data_and_needs_no_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = sqlite_url(tmp_path / "a.db")
    first = open_database(url)
    with writing(first).begin() as connection:
        connection.execute(text("CREATE TABLE mark (a)"))
    first.dispose()
    monkeypatch.setattr(database, "upgrade", None)
    second = open_database(url)
    with second.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM mark")).scalar() == 0
    second.dispose()


def test_writes_are_durable_and_deleted_data_is_overwritten(tmp_path: Path) -> None:
    engine = open_database(sqlite_url(tmp_path / "a.db"))
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "busy_timeout")
        }
    engine.dispose()
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "secure_delete": 1,
        "busy_timeout": 5000,
    }


def test_a_failed_transaction_leaves_nothing_behind(tmp_path: Path) -> None:
    engine = open_database(sqlite_url(tmp_path / "a.db"))

    def fail() -> None:
        with writing(engine).begin() as connection:
            connection.execute(text("CREATE TABLE mark (a)"))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert differences(engine) == []
    engine.dispose()


def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    engine = open_database(sqlite_url(tmp_path / "a.db"))
    with writing(engine).begin() as writer, engine.connect() as reader:
        writer.execute(text("DELETE FROM transcripts"))
        assert reader.execute(text("SELECT count(*) FROM transcripts")).scalar() == 0
    engine.dispose()


def test_several_processes_can_open_a_fresh_file_at_the_same_time(tmp_path: Path) -> None:
    script = (
        "import sys; from auricle.store.database import *; sys.stdin.readline(); open_database(sys.argv[1]).dispose()"
    )
    url = sqlite_url(tmp_path / "a.db")
    processes = [
        subprocess.Popen([sys.executable, "-c", script, url], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate("go\n")[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    engine = open_database(url)
    assert differences(engine) == []
    engine.dispose()


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"no database" * 500)
    with pytest.raises(StoreUnavailable, match="not a database"):
        open_database(sqlite_url(path))
    assert path.read_bytes() == b"no database" * 500


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    open_database(sqlite_url(path)).dispose()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(StoreUnavailable, match="newer version"):
        open_database(sqlite_url(path))


def test_a_folder_that_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="unable to open"):
        open_database(sqlite_url(tmp_path / "none" / "a.db"))
