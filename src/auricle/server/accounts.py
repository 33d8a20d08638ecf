"""The keys and what they use, kept up to date while the server runs."""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from auricle.config import Settings
from auricle.errors import Busy, InvalidOption
from auricle.server.keyring import Keyring
from auricle.server.keys_file import KeysFile
from auricle.server.limits import RateLimits, parse_tiers
from auricle.server.security import is_loopback
from auricle.server.usage_meter import UsageMeter
from auricle.store import DATABASE_NAME, KEYS_MARK
from auricle.store.key import ApiKey, DayUsage, hash_secret
from auricle.store.unavailable import StoreUnavailable

if TYPE_CHECKING:
    from auricle.store.opening import AccountStores
    from auricle.store.voices import VoiceStore

T = TypeVar("T")

logger = logging.getLogger("auricle.server")

_PERIOD_S = 2.0
"""How long a change of the keys may take to be noticed, and how much usage a crash may lose."""
_WEAK = 16
"""Characters; what is shorter was not made at random."""


def open_accounts(settings: Settings) -> "Accounts":
    """The keys of settings, file and database. Blocks.

    Raises InvalidOption for a file that cannot be used, a database that has keys and cannot be read, and where there
    are no keys although other machines can reach the server.
    """
    secrets = {name: _secret(settings, name) for name in ("api_key", "admin_key", "rapidapi_proxy_secret")}
    keyring = Keyring(
        tiers=parse_tiers(settings.tiers),
        now=_now,
        rapidapi_secret=secrets["rapidapi_proxy_secret"],
        is_required=bool(settings.keys_file),
    )
    keyring.replace(
        "settings",
        [
            ApiKey(id=f"setting:{name}", name=name, sha256=hash_secret(secrets[name]), is_admin=name == "admin_key")
            for name in ("api_key", "admin_key")
            if secrets[name]
        ],
    )
    accounts = Accounts(settings, keyring)
    accounts.read_all()
    if not (keyring.is_required or settings.allow_no_keys or is_loopback(settings.host)):
        raise InvalidOption(
            f"other machines could reach the server at {settings.host}, and there are no keys: make one (`auricle keys "
            "create NAME`, or AURICLE_API_KEY), or set AURICLE_ALLOW_NO_KEYS=true",
            param="allow_no_keys",
        )
    return accounts


class Accounts:
    """Made by ``open_accounts``. Belongs to one event loop."""

    def __init__(self, settings: Settings, keyring: Keyring) -> None:
        self.keyring = keyring
        self.limits = RateLimits()
        self.usage = UsageMeter()
        self._file = KeysFile(Path(settings.keys_file)) if settings.keys_file else None
        self._folder = settings.data_dir
        self._url = settings.database_url.get_secret_value()
        self._stores: AccountStores | None = None
        self._opening = threading.Lock()
        self._changed_at: datetime | None = None
        self._troubles: dict[str, str] = {}

    def read_all(self) -> None:
        """Read the keys of file and database for the first time. Blocks; raises InvalidOption."""
        if self._file is not None:
            try:
                self.keyring.replace("file", self._file.read())
            except ValueError as exc:
                raise InvalidOption(f"AURICLE_KEYS_FILE: {exc}", param="keys_file") from exc
        try:
            self._take(*self._changed_keys())
        except StoreUnavailable as exc:
            if self._url or (self._folder / KEYS_MARK).exists():
                raise InvalidOption(f"the keys in the database cannot be read: {exc}", param="data_dir") from exc
            self._tell("database", f"the database cannot be read; it is taken to hold no keys: {exc}")

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Notice changes of the keys, and keep what is used, for as long as the context is open."""
        task = asyncio.create_task(self._keep_up())
        task.add_done_callback(_report_end)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.write_usage()
            if self._stores is not None:
                await asyncio.to_thread(self._stores.close)

    async def refresh(self) -> None:
        """Take note of keys that have changed; where they cannot be read, all stays as it was."""
        if self._file is not None:
            try:
                keys = await asyncio.to_thread(self._file.read_if_changed)
                if keys is not None:
                    self.keyring.replace("file", keys)
                    self._tell("file", None)
            except (InvalidOption, ValueError) as exc:
                self._tell("file", f"the keys of before stay valid: {exc}")
        try:
            self._take(*await asyncio.to_thread(self._changed_keys))
        except StoreUnavailable as exc:
            self._tell("database", f"changes of keys are not noticed: {exc}")
        else:
            self._tell("database", None)

    async def write_usage(self) -> None:
        """Write what was used since the last time; what cannot be written is kept for later."""
        counts = self.usage.take()
        if not counts:
            return
        try:
            await asyncio.to_thread(lambda: self._open_stores().usage.add(counts))
        except StoreUnavailable as exc:
            self.usage.put_back(counts)
            self._tell("usage", f"what is used is not written: {exc}")
        else:
            self._tell("usage", None)

    async def read_usage(self, *, since: date, owner: str | None) -> list[DayUsage]:
        """See ``UsageStore.read``. Raises StoreUnavailable."""
        return await asyncio.to_thread(lambda: self._open_stores().usage.read(since=since, owner=owner))

    async def use_voices(self, call: "Callable[[VoiceStore], T]") -> T:
        """What ``call`` does with the stored voices. Raises Busy where the database does not work."""
        try:
            return await asyncio.to_thread(lambda: call(self._open_stores().voices))
        except StoreUnavailable as exc:
            raise Busy(f"The stored voices cannot be reached now: {exc}") from exc

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(_PERIOD_S)
            await self.refresh()
            await self.write_usage()

    def _changed_keys(self) -> tuple[list[ApiKey], datetime | None]:
        """Keys that have changed; none where there is no database yet. Blocks."""
        if self._stores is None and not self._url and not (self._folder / DATABASE_NAME).exists():
            return [], None
        return self._open_stores().keys.changed_since(self._changed_at)

    def _take(self, keys: list[ApiKey], moment: datetime | None) -> None:
        self._changed_at = moment
        self.keyring.update("database", keys)

    def _open_stores(self) -> "AccountStores":
        with self._opening:
            if self._stores is None:
                # SQLAlchemy takes a third of a second to import.
                from auricle.store.opening import open_account_stores  # noqa: PLC0415

                self._stores = open_account_stores(self._folder, url=self._url)
            return self._stores

    def _tell(self, what: str, trouble: str | None) -> None:
        """Warn once, until it is over or something else."""
        if trouble is not None and self._troubles.get(what) != trouble:
            logger.warning("%s", trouble)
        self._troubles = {name: text for name, text in self._troubles.items() if name != what}
        if trouble is not None:
            self._troubles[what] = trouble


def _now() -> datetime:
    return datetime.now(UTC)


def _secret(settings: Settings, name: str) -> str:
    value: str = getattr(settings, name).get_secret_value().strip()
    if 0 < len(value) < _WEAK:
        logger.warning("AURICLE_%s has less than %d characters and can be guessed", name.upper(), _WEAK)
    return value


def _report_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("changes of keys are not noticed any more, and usage is not written", exc_info=error)
