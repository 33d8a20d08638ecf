"""``auricle keys``: what it keeps, shows and refuses."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from auricle.cli.main import app
from auricle.errors import AuricleError, Busy, InvalidOption, NotFound
from auricle.store import DATABASE_NAME
from auricle.store.key import hash_secret


def keys(folder: Path, *arguments: str):
    return CliRunner().invoke(app, ["keys", *arguments, "--data-dir", str(folder)])


def done(folder: Path, *arguments: str) -> str:
    result = keys(folder, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_key_is_shown_once_and_kept_as_its_hash(tmp_path: Path) -> None:
    secret = done(tmp_path, "create", "ann").strip()
    assert re.fullmatch(r"ak_[\w-]{43}", secret)
    table = done(tmp_path, "list")
    assert secret not in table
    assert secret[:8] + "…" in table
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.encode() not in written
    assert hash_secret(secret).encode() in written


def test_what_a_key_may_do_is_listed(tmp_path: Path) -> None:
    flags = ["--tier", "free", "--priority", "batch", "--models", "small, base", "--admin", "--expires", "90d"]
    made = json.loads(done(tmp_path, "create", "ann", *flags, "--json"))
    (row,) = json.loads(done(tmp_path, "list", "--json"))
    assert {name: made[name] for name in row} == row
    assert (row["tier"], row["priority"], row["models"], row["admin"]) == ("free", "batch", ["small", "base"], True)
    days = datetime.fromisoformat(row["expires"]) - datetime.now(UTC)
    assert timedelta(days=89) < days <= timedelta(days=90)
    assert (row["state"], made["key"][:8]) == ("valid", row["prefix"])


def test_a_revoked_key_stays_in_the_list_and_its_name_is_free(tmp_path: Path) -> None:
    done(tmp_path, "create", "ann")
    done(tmp_path, "create", "bob")
    done(tmp_path, "revoke", "ann", "bob")
    done(tmp_path, "create", "ann", "--expires", "2999-01-31")
    states = [(row["name"], row["state"]) for row in json.loads(done(tmp_path, "list", "--json"))]
    assert sorted(states) == [("ann", "revoked"), ("ann", "valid"), ("bob", "revoked")]


@pytest.mark.parametrize(
    ("arguments", "kind", "told"),
    [
        (("create", "a b"), InvalidOption, "letters, digits"),
        (("create", "x" * 51), InvalidOption, "letters, digits"),
        (("create", "a", "--tier", "gold"), InvalidOption, "free, premium"),
        (("create", "a", "--limits", "many"), InvalidOption, "10/hour"),
        (("create", "a", "--priority", "high"), InvalidOption, "interactive"),
        (("create", "a", "--expires", "soon"), InvalidOption, "90d"),
        (("create", "a", "--expires", "2001-01-01"), InvalidOption, "past"),
        (("create", "a", "--tiers", "x"), InvalidOption, "AURICLE_TIERS"),
        (("revoke", "nobody"), NotFound, "auricle keys list"),
    ],
)
def test_what_means_nothing_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], kind: type[AuricleError], told: str
) -> None:
    result = CliRunner().invoke(
        app, ["keys", *arguments, "--data-dir", str(tmp_path)], env={"AURICLE_DATA_DIR": str(tmp_path)}
    )
    assert isinstance(result.exception, kind)
    assert told in str(result.exception)


def test_a_tier_of_the_settings_can_be_given(tmp_path: Path) -> None:
    done(tmp_path, "create", "ann", "--tiers", "gold=5/hour", "--tier", "gold")


def test_a_database_that_does_not_work_is_told(tmp_path: Path) -> None:
    (tmp_path / DATABASE_NAME).write_bytes(b"this is no database " * 1000)
    result = keys(tmp_path, "list")
    assert isinstance(result.exception, Busy)
