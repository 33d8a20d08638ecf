"""Keys in a file: TOML or JSON, edited by people or written by programs."""

import json
import tomllib
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from auricle.errors import InvalidOption
from auricle.store.key import ApiKey, PriorityName, hash_secret, shown_prefix

_MAX_BYTES = 16 << 20

Name = Annotated[str, Field(min_length=1, max_length=50, pattern=r"^[A-Za-z0-9._@+-]+$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Name
    key: Annotated[str, Field(min_length=16, max_length=512)] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = None
    tier: str | None = None
    limits: str = ""
    priority: PriorityName | None = None
    models: tuple[str, ...] | None = None
    admin: bool = False
    expires: datetime | date | None = None

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        if (self.key is None) == (self.sha256 is None):
            raise ValueError("needs either 'key' or 'sha256'")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    keys: tuple[_Entry, ...]


class KeysFile:
    """The file at ``path``. Its methods block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def read(self) -> list[ApiKey]:
        """The keys. Raises InvalidOption for a file that cannot be used; the message quotes no key."""
        try:
            stat = self._path.stat()
            self._seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stat.st_size > _MAX_BYTES:
                raise InvalidOption(f"{self._path} is larger than {_MAX_BYTES >> 20} MiB", param="keys_file")
            raw = self._path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise self._problem(exc) from exc
        try:
            found = _File.model_validate(json.loads(raw) if raw.lstrip().startswith("{") else tomllib.loads(raw))
        except ValidationError as exc:
            first = exc.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise self._problem(f"{where}: {first['msg'].removeprefix('Value error, ')}") from exc
        except (ValueError, RecursionError) as exc:
            # What the parsers say has a place in it, and at most a character of the text.
            raise self._problem(exc) from exc
        keys = [_key(entry) for entry in found.keys]
        for what, values in (("name", [key.name for key in keys]), ("key", [key.sha256 for key in keys])):
            if len(set(values)) < len(values):
                raise self._problem(f"two keys have the same {what}")
        return keys

    def read_if_changed(self) -> list[ApiKey] | None:
        """The keys, where the file is another one than when it was read last. Raises as ``read``."""
        try:
            stat = self._path.stat()
        except OSError as exc:
            if self._seen is None:
                return None
            self._seen = None
            raise self._problem(exc) from exc
        return None if self._seen == (stat.st_mtime_ns, stat.st_size, stat.st_ino) else self.read()

    def _problem(self, what: Any) -> InvalidOption:
        return InvalidOption(f"AURICLE_KEYS_FILE={self._path} cannot be used: {what}", param="keys_file")


def _key(entry: _Entry) -> ApiKey:
    return ApiKey(
        id=f"file:{entry.name}",
        name=entry.name,
        sha256=hash_secret(entry.key) if entry.key is not None else (entry.sha256 or "").lower(),
        prefix=shown_prefix(entry.key or ""),
        tier=entry.tier,
        limits=entry.limits,
        priority=entry.priority,
        models=entry.models,
        is_admin=entry.admin,
        expires_at=_moment(entry.expires),
    )


def _moment(value: datetime | date | None) -> datetime | None:
    """A day begins, and a time without a zone is, in UTC."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        value = datetime.combine(value, time())
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
