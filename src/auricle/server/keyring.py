"""All keys that there are, by their hash, whichever of settings, file and database they come from."""

import hmac
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from starlette.datastructures import Headers

from auricle.server.auth import Principal
from auricle.server.limits import Rates, parse_rates
from auricle.store.key import ApiKey, hash_secret
from auricle.types import Priority

logger = logging.getLogger("auricle.server")

FREE = "free"
"""Tier of those who come through RapidAPI with no other, where there is one of this name."""

_Entry = tuple[ApiKey, Principal]
_NOBODY: _Entry = (ApiKey(id="", name="", sha256="0" * 64), Principal())
"""Compared with where nothing has the hash that was given: whatever is given, the same is done."""
_KEY_HEADERS = ("x-api-key", "x-admin-api-key")
_SANE_USER = re.compile(r"[A-Za-z0-9._@+-]{1,50}")
_USERS = "rapidapi:"


class Keyring:
    """Finds who a key belongs to. ``rapidapi_secret`` lets in users of RapidAPI. Belongs to one event loop."""

    def __init__(
        self,
        *,
        tiers: Mapping[str, Rates],
        now: Callable[[], datetime],
        rapidapi_secret: str = "",
        is_required: bool = False,
    ) -> None:
        self._tiers = tiers
        self._now = now
        self._sources: dict[str, dict[str, _Entry]] = {}
        self._known: dict[str, _Entry] = {}
        self._rapidapi_sha256 = hash_secret(rapidapi_secret) if rapidapi_secret else None
        self._is_required = is_required or self._rapidapi_sha256 is not None

    @property
    def is_required(self) -> bool:
        """Whether requests need a key: there is one, or was one. To revoke the last key opens nothing."""
        return self._is_required

    def replace(self, source: str, keys: Iterable[ApiKey]) -> None:
        """``keys`` are all that ``source`` has. Raises ValueError where the tier or the limits of one mean nothing."""
        self._sources[source] = {key.sha256: (key, self._principal(key)) for key in keys}
        self._known = {sha256: entry for entries in self._sources.values() for sha256, entry in entries.items()}
        self._is_required = self._is_required or bool(self._known)

    def update(self, source: str, keys: Iterable[ApiKey]) -> None:
        """``keys`` of ``source`` are new or different. One that means nothing lets nobody in, and the log says so."""
        for key in keys:
            self._is_required = True
            entries = self._sources.setdefault(source, {})
            try:
                entries[key.sha256] = self._known[key.sha256] = (key, self._principal(key))
            except ValueError as exc:
                entries.pop(key.sha256, None)
                if self._known.pop(key.sha256, None) is not None or key.revoked_at is None:
                    logger.warning("the key %s lets nobody in: %s", key.id, exc)

    def find(self, headers: Headers) -> Principal | None:
        """Who the request's headers say that it comes from; None where they hold no valid key.

        Every key that is given takes the same steps, whether it is right, wrong, expired or revoked.
        """
        now = self._now()
        found: Principal | None = None
        for given in _given(headers):
            sha256 = hash_secret(given)
            key, principal = self._known.get(sha256, _NOBODY)
            is_same = hmac.compare_digest(key.sha256, sha256)
            is_valid = key.is_valid(now)
            if is_same and is_valid and found is None:
                found = principal
        return found or self._rapidapi_user(headers)

    def rates(self, owner: str) -> Rates:
        """What the key with this id may use; no limits where there is none."""
        return next((principal.rates for _, principal in self._known.values() if principal.owner == owner), Rates())

    def names(self) -> dict[str, str]:
        """What the keys are called, by their ids."""
        return {key.id: key.name for key, _ in self._known.values()}

    def _principal(self, key: ApiKey) -> Principal:
        if key.limits:
            rates = parse_rates(key.limits)
        elif key.tier:
            if key.tier not in self._tiers:
                raise ValueError(f"AURICLE_TIERS has no tier {key.tier[:40]!r}")
            rates = self._tiers[key.tier]
        else:
            rates = Rates()
        return Principal(
            owner=key.id,
            name=key.name,
            tier=key.tier,
            rates=rates,
            priority=Priority[key.priority.upper()] if key.priority else None,
            models=key.models,
            is_admin=key.is_admin,
        )

    def _rapidapi_user(self, headers: Headers) -> Principal | None:
        if self._rapidapi_sha256 is None:
            return None
        given = hash_secret(headers.get("x-rapidapi-proxy-secret", ""))
        if not hmac.compare_digest(given, self._rapidapi_sha256):
            return None
        user = headers.get("x-rapidapi-user", "")
        owner = _USERS + (user if _SANE_USER.fullmatch(user) else hash_secret(user)[:40])
        by_name = {name.lower(): name for name in self._tiers}
        tier = by_name.get(headers.get("x-rapidapi-subscription", "").lower(), by_name.get(FREE))
        return Principal(owner=owner, name=owner, tier=tier, rates=self._tiers[tier] if tier else Rates())


def _given(headers: Headers) -> Iterator[str]:
    """All keys in the headers: many clients send one that is none beside the right one."""
    for authorization in headers.getlist("authorization"):
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() == "bearer":
            yield key.strip()
    for name in _KEY_HEADERS:
        yield from (key.strip() for key in headers.getlist(name))
