"""Who a key belongs to, and that a wrong one takes the same way as a right one."""

import hmac
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.datastructures import Headers

from auricle.server import keyring as keyring_module
from auricle.server.keyring import Keyring
from auricle.server.limits import parse_tiers
from auricle.store.key import ApiKey, hash_secret, new_secret, shown_prefix
from auricle.types import Priority

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SECRET = "ak_" + "x" * 40


def key(secret: str = SECRET, **more: Any) -> ApiKey:
    values: dict[str, Any] = {"id": "key_1", "name": "one", "sha256": hash_secret(secret)}
    return ApiKey(**values | more)


def keyring(*keys: ApiKey, **more) -> Keyring:
    ring = Keyring(tiers=parse_tiers("free=10/hour;Pro=1000/hour"), now=lambda: NOW, **more)
    if keys:
        ring.update("database", keys)
    return ring


def owner(ring: Keyring, **headers: str) -> str | None:
    found = ring.find(Headers({name.replace("_", "-"): value for name, value in headers.items()}))
    return found.owner if found else None


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {SECRET}"},
        {"authorization": f"bearer  {SECRET} "},
        {"x_api_key": SECRET},
        {"x_admin_api_key": SECRET},
        {"authorization": "Bearer unused", "x_api_key": SECRET},
        {"x_api_key": "wrong", "x_admin_api_key": SECRET},
    ],
)
def test_a_key_is_accepted_in_any_of_its_headers(headers: dict[str, str]) -> None:
    assert owner(keyring(key()), **headers) == "key_1"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": SECRET},
        {"authorization": f"Basic {SECRET}"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"x_api_key": SECRET[:-1]},
        {"x_api_key": SECRET.upper()},
        {"x_api_key": hash_secret(SECRET)},
        {"x_api_key": "0" * 64},
        {"x_api_key": "schlüssel"},
        {"cookie": f"x-api-key={SECRET}"},
        {"x_rapidapi_proxy_secret": SECRET, "x_rapidapi_user": "me"},
    ],
)
def test_nothing_else_is(headers: dict[str, str]) -> None:
    assert owner(keyring(key()), **headers) is None


def test_a_key_may_hold_any_characters() -> None:
    ring = keyring(key("schlüssel mit ümläuten"))
    raw = Headers(raw=[(b"x-api-key", "schlüssel mit ümläuten".encode("latin-1"))])
    assert ring.find(raw) is not None


def test_expired_and_revoked_keys_let_nobody_in() -> None:
    assert owner(keyring(key(expires_at=NOW)), x_api_key=SECRET) is None
    assert owner(keyring(key(expires_at=NOW + timedelta(seconds=1))), x_api_key=SECRET) == "key_1"
    assert owner(keyring(key(revoked_at=NOW - timedelta(days=1))), x_api_key=SECRET) is None


def test_a_key_is_needed_from_the_first_one_on_and_ever_after() -> None:
    ring = keyring()
    assert not ring.is_required
    ring.update("database", [key()])
    assert ring.is_required
    ring.update("database", [key(revoked_at=NOW)])
    assert ring.is_required
    assert owner(ring, x_api_key=SECRET) is None
    assert keyring(key(revoked_at=NOW)).is_required
    assert keyring(rapidapi_secret="s" * 20).is_required
    assert keyring(is_required=True).is_required


def test_what_a_source_no_longer_has_lets_nobody_in() -> None:
    ring = keyring()
    ring.replace("file", [key(), key("another" * 3, id="file:two")])
    ring.update("database", [key("third" * 4, id="key_3")])
    ring.replace("file", [key("another" * 3, id="file:two")])
    assert owner(ring, x_api_key=SECRET) is None
    assert owner(ring, x_api_key="another" * 3) == "file:two"
    assert owner(ring, x_api_key="third" * 4) == "key_3"


def test_right_wrong_expired_and_revoked_keys_take_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {name: new_secret() for name in ("right", "expired", "revoked", "wrong")}
    ring = keyring(
        key(secrets["right"]),
        key(secrets["expired"], id="key_2", expires_at=NOW - timedelta(days=1)),
        key(secrets["revoked"], id="key_3", revoked_at=NOW - timedelta(days=1)),
    )
    steps: list[str] = []

    def counted(name: str, function):
        def call(*arguments):
            steps.append(name)
            return function(*arguments)

        return call

    class Known(dict):
        get = counted("look-up", dict.get)

    ring._known = Known(ring._known)
    monkeypatch.setattr(keyring_module, "hash_secret", counted("hash", hash_secret))
    monkeypatch.setattr(hmac, "compare_digest", counted("compare", hmac.compare_digest))
    monkeypatch.setattr(ApiKey, "is_valid", counted("validity", ApiKey.is_valid))
    taken: dict[str, list[str]] = {}
    for name, secret in secrets.items():
        steps.clear()
        assert (owner(ring, authorization=f"Bearer {secret}") is not None) == (name == "right")
        taken[name] = list(steps)
    assert taken["right"] == ["hash", "look-up", "compare", "validity"]
    assert all(way == taken["right"] for way in taken.values())


def test_a_principal_is_what_its_key_says() -> None:
    ring = keyring(key(tier="free", priority="batch", models=("small",), is_admin=True))
    found = ring.find(Headers({"x-api-key": SECRET}))
    assert found is not None
    assert (found.name, found.tier, found.priority, found.models) == ("one", "free", Priority.BATCH, ("small",))
    assert found.is_admin
    assert [item.amount for item in found.rates.requests] == [10]
    own = keyring(key(tier="free", limits="3/day")).find(Headers({"x-api-key": SECRET}))
    assert own is not None
    assert [item.amount for item in own.rates.requests] == [3]
    assert keyring(key(limits="3/day")).names() == {"key_1": "one"}


def test_a_key_of_a_tier_that_is_gone_is_refused_rather_than_free_of_limits(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    ring = keyring(key(tier="gold"))
    assert owner(ring, x_api_key=SECRET) is None
    assert ring.is_required
    assert "'gold'" in caplog.text
    with pytest.raises(ValueError, match="gold"):
        keyring().replace("file", [key(tier="gold")])


def test_users_of_rapidapi_are_owners_with_the_tier_of_their_subscription() -> None:
    ring = keyring(rapidapi_secret="proxy-secret-of-mine")
    proxy = {"x_rapidapi_proxy_secret": "proxy-secret-of-mine"}
    assert owner(ring, **proxy, x_rapidapi_user="ann") == "rapidapi:ann"
    assert owner(ring, **proxy, x_rapidapi_user="ann", authorization="Bearer unused") == "rapidapi:ann"
    assert owner(ring, x_rapidapi_proxy_secret="wrong", x_rapidapi_user="ann") is None
    assert owner(ring, x_rapidapi_user="ann") is None
    tiers = {}
    for subscription in ("PRO", "free", "BASIC"):
        headers = Headers({"x-rapidapi-proxy-secret": "proxy-secret-of-mine", "x-rapidapi-subscription": subscription})
        found = ring.find(headers)
        assert found is not None
        assert not found.is_admin
        tiers[subscription] = found.tier
    assert tiers == {"PRO": "Pro", "free": "free", "BASIC": "free"}


@pytest.mark.parametrize("user", ["", "a/b", "x" * 500, "key_1\nfoo", "ä"])
def test_strange_users_of_rapidapi_get_owners_that_fit_anywhere(user: str) -> None:
    ring = keyring(rapidapi_secret="proxy-secret-of-mine")
    raw = [(b"x-rapidapi-proxy-secret", b"proxy-secret-of-mine"), (b"x-rapidapi-user", user.encode("latin-1"))]
    found = ring.find(Headers(raw=raw))
    assert found is not None
    assert found.owner.startswith("rapidapi:")
    assert len(found.owner) <= 64
    assert "/" not in found.owner


def test_made_keys_are_long_different_and_show_little() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(secret.startswith("ak_") and len(secret) >= 43 for secret in made)
    assert all(len(shown_prefix(secret)) == 8 for secret in made)
    assert shown_prefix("a key that a person chose") == ""
