"""Keys in a TOML or JSON file."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auricle.errors import InvalidOption
from auricle.server.keys_file import KeysFile
from auricle.store.key import hash_secret

SECRET = "a-secret-of-some-length"
TOML = f"""
# who may
[[keys]]
name = "reporter"
key = "{SECRET}"
tier = "free"
priority = "batch"
models = ["small", "base"]
expires = 2030-01-31

[[keys]]
name = "ops"
sha256 = "{hash_secret("another-secret-of-some-length").upper()}"
admin = true
limits = "10/hour"
expires = 2030-01-31T12:00:00+02:00
"""


def written(folder: Path, text: str) -> KeysFile:
    path = folder / "keys"
    path.write_text(text, "utf-8")
    return KeysFile(path)


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    first, second = written(tmp_path, TOML).read()
    assert (first.id, first.name, first.sha256) == ("file:reporter", "reporter", hash_secret(SECRET))
    assert (first.tier, first.priority, first.models) == ("free", "batch", ("small", "base"))
    assert first.expires_at == datetime(2030, 1, 31, tzinfo=UTC)
    assert (second.is_admin, second.limits) == (True, "10/hour")
    assert second.sha256 == hash_secret("another-secret-of-some-length")
    assert second.expires_at == datetime(2030, 1, 31, 10, tzinfo=UTC)
    entry = {"name": "reporter", "key": SECRET, "tier": "free", "priority": "batch", "models": ["small", "base"]}
    (alike,) = written(tmp_path, json.dumps({"keys": [entry | {"expires": "2030-01-31"}]})).read()
    assert alike == first


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "keys"),
        ("[[keys]]\nname = 'a'", "either 'key' or 'sha256'"),
        (f"[[keys]]\nname = 'a'\nkey = '{SECRET}'\nsha256 = '{'0' * 64}'", "either 'key' or 'sha256'"),
        ("[[keys]]\nname = 'a'\nkey = 'SECRET-short'", "keys.0.key: "),
        (f"[[keys]]\nname = 'a/b'\nkey = '{SECRET}'", "keys.0.name: "),
        (f"[[keys]]\nname = 'a'\nkey = '{SECRET}'\nteir = 'x'", "keys.0.teir: "),
        (f"[[keys]]\nname = 'a'\nkey = '{SECRET}'\npriority = 'high'", "keys.0.priority: "),
        (f"[[keys]]\nname = 'a'\nkey = '{SECRET}'\nexpires = 'soon'", "keys.0.expires"),
        (f"[[keys]]\nname = 'a'\nkey = '{SECRET}", "end of document"),
        ("{", "line 1"),
        ('{"keys": ' + "[" * 100_000, ""),
        (f"[[keys]]\nname='a'\nkey='{SECRET}'\n[[keys]]\nname='b'\nkey='{SECRET}'", "same key"),
        (f"[[keys]]\nname='a'\nkey='{SECRET}'\n[[keys]]\nname='a'\nkey='{SECRET}2'", "same name"),
    ],
)
def test_what_cannot_be_used_is_told_without_quoting_keys(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        written(tmp_path, text).read()
    assert problem in caught.value.message
    assert "AURICLE_KEYS_FILE" in caught.value.message
    assert "SECRET" not in caught.value.message
    assert SECRET not in caught.value.message


def test_a_file_that_is_not_there_or_not_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="No such file"):
        KeysFile(tmp_path / "none").read()
    (tmp_path / "keys").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidOption, match="utf-8"):
        KeysFile(tmp_path / "keys").read()


def test_a_file_is_read_again_when_it_is_another_one(tmp_path: Path) -> None:
    file = written(tmp_path, TOML)
    assert len(file.read()) == 2
    assert file.read_if_changed() is None
    (tmp_path / "keys").write_text(TOML.partition("\n\n[[keys]]")[0], "utf-8")
    changed = file.read_if_changed()
    assert changed is not None
    assert [key.name for key in changed] == ["reporter"]
    replacement = tmp_path / "new"
    replacement.write_text(TOML, "utf-8")
    os.replace(replacement, tmp_path / "keys")
    assert len(file.read_if_changed() or ()) == 2
    (tmp_path / "keys").unlink()
    with pytest.raises(InvalidOption):
        file.read_if_changed()
    assert file.read_if_changed() is None, "it was told already"
    (tmp_path / "keys").write_text(TOML, "utf-8")
    assert len(file.read_if_changed() or ()) == 2
