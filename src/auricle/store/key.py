"""An API key, and what it has used; free of SQLAlchemy, since keys also come from settings and files."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

PriorityName = Literal["realtime", "interactive", "batch"]

_MARK = "ak_"
"""So that keys are found in what leaked by accident."""
_SHOWN = 8
"""Characters of a key that are kept, to tell keys apart in a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What a key is and may do; the key itself is not in it."""

    id: str
    """Owner of what is made with the key: jobs, kept results, usage."""
    name: str
    sha256: str
    """Of the key, in hex."""
    prefix: str = ""
    """First characters of the key."""
    tier: str | None = None
    limits: str = ""
    """As in a tier; in place of those of the tier, where there are any."""
    priority: PriorityName | None = None
    """Class of its requests, and the most urgent that they may ask for."""
    models: tuple[str, ...] | None = None
    """Names of the models that it may use; None for all."""
    is_admin: bool = False
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Whether it lets anybody in at ``now``."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayUsage:
    """What an owner used on one day (UTC)."""

    owner: str
    day: date
    requests: int = 0
    audio_s: float = 0.0
    errors: int = 0


def new_secret() -> str:
    """A key that nobody has had: 256 random bits."""
    return _MARK + secrets.token_urlsafe(32)


def new_id() -> str:
    """An id for a key of the database."""
    return f"key_{secrets.token_hex(8)}"


def hash_secret(secret: str) -> str:
    """SHA-256 in hex, which is what is kept of a key.

    A slow hash with salt is for what people choose; a key of 256 random bits cannot be found by trying, and it must be
    checked with every request.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def shown_prefix(secret: str) -> str:
    """What may be shown of a key: enough to tell it apart, too little to be of use."""
    return secret[:_SHOWN] if secret.startswith(_MARK) else ""
