"""The databases that the contract of the stores is checked on."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from auricle.store.database import sqlite_url
from postgres import Postgres, running_postgres

DATABASES = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests."""
    if find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed")
    with running_postgres() as server:
        yield server


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "auricle.db")
    return request.getfixturevalue("postgres").create_database()
