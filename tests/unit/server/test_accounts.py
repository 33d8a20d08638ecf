"""Keys that come and go while the server runs, and usage that has to wait for its database."""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from auricle.config import Settings
from auricle.server import accounts as accounts_module
from auricle.server.accounts import Accounts, open_accounts
from auricle.store import DATABASE_NAME
from auricle.store.key import ApiKey, hash_secret, new_id
from auricle.store.opening import open_account_stores

SECRET = "ak_" + "x" * 40


def opened(folder: Path, **settings) -> Accounts:
    return open_accounts(Settings(data_dir=folder, **settings))  # pyright: ignore[reportCallIssue]


def lets_in(accounts: Accounts, secret: str = SECRET) -> bool:
    return accounts.keyring.find(Headers({"x-api-key": secret})) is not None


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  it is changed by another process, so to say
        await asyncio.sleep(0.01)


def create(folder: Path, name: str = "one", secret: str = SECRET) -> None:
    stores = open_account_stores(folder)
    stores.keys.add(ApiKey(id=new_id(), name=name, sha256=hash_secret(secret)))
    stores.close()


def revoke(folder: Path, name: str = "one") -> None:
    stores = open_account_stores(folder)
    stores.keys.revoke(name)
    stores.close()


async def test_a_server_without_keys_makes_no_database(tmp_path: Path) -> None:
    accounts = opened(tmp_path)
    async with accounts.running():
        await accounts.refresh()
        await accounts.write_usage()
    assert list(tmp_path.iterdir()) == []


async def test_keys_are_noticed_while_the_server_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_module, "_PERIOD_S", 0.01)
    accounts = opened(tmp_path)
    async with accounts.running():
        assert not accounts.keyring.is_required
        await asyncio.to_thread(create, tmp_path)
        await until(lambda: lets_in(accounts))
        assert accounts.keyring.is_required
        await asyncio.to_thread(revoke, tmp_path)
        await until(lambda: not lets_in(accounts))
        assert accounts.keyring.is_required
    again = opened(tmp_path)
    async with again.running():
        assert again.keyring.is_required, "a revoked key still closes the server"
        assert not lets_in(again)


async def test_a_file_that_breaks_leaves_the_keys_of_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    path = tmp_path / "keys.toml"
    path.write_text(f"[[keys]]\nname = 'a'\nkey = '{SECRET}'", "utf-8")
    accounts = opened(tmp_path, keys_file=str(path))
    for broken in ("[[keys]", f"[[keys]]\nname = 'a'\nkey = '{SECRET}'\ntier = 'gold'"):
        path.write_text(broken, "utf-8")
        await accounts.refresh()
        await accounts.refresh()
        assert lets_in(accounts)
    assert len([record for record in caplog.records if "keys of before" in record.message]) == 2
    path.write_text("keys = []", "utf-8")
    await accounts.refresh()
    assert not lets_in(accounts)
    assert accounts.keyring.is_required


async def test_usage_waits_for_a_database_that_does_not_work(tmp_path: Path) -> None:
    accounts = opened(tmp_path, api_key=SECRET)
    accounts.usage.add("a", requests=1, audio_s=2.0)
    (tmp_path / DATABASE_NAME).write_bytes(b"this is no database " * 1000)
    await accounts.write_usage()
    accounts.usage.add("a", requests=1, errors=1)
    os.unlink(tmp_path / DATABASE_NAME)
    async with accounts.running():
        pass
    stores = open_account_stores(tmp_path)
    (row,) = stores.usage.read(since=accounts_module._now().date())
    stores.close()
    assert (row.requests, row.audio_s, row.errors) == (2, 2.0, 1)


async def test_many_requests_are_one_write(tmp_path: Path) -> None:
    accounts = opened(tmp_path, api_key=SECRET)
    for _ in range(1000):
        accounts.usage.add("a", requests=1)
    counts = accounts.usage.take()
    assert [(one.owner, one.requests) for one in counts] == [("a", 1000)]
    assert accounts.usage.take() == []
