"""``auricle keys``: make, list and revoke the API keys of the database."""

import json
import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from auricle.cli.console import say
from auricle.cli.settings_flags import takes_settings
from auricle.cli.tables import print_table
from auricle.config import Settings
from auricle.errors import Busy, InvalidOption
from auricle.store import KEYS_MARK

if TYPE_CHECKING:
    from collections.abc import Generator

    from auricle.store.key import ApiKey
    from auricle.store.keys import KeyStore

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke the API keys of a server.")

_Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]
_SANE_NAME = re.compile(r"[A-Za-z0-9._@+-]{1,50}")
_SPAN = re.compile(r"(\d{1,5})(h|d)")


@app.command()
@takes_settings("data_dir", "database_url", "tiers")
def create(
    *,
    settings: Settings,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who or what it is for.", show_default=False)],
    tier: Annotated[str | None, typer.Option(help="One of the tiers, which sets its limits.")] = None,
    limits: Annotated[str, typer.Option(help="Its own limits, `10/hour,600s/hour`, in place of a tier's.")] = "",
    priority: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS",
            help="`realtime`, `interactive` or `batch`: class of its requests, and the most urgent they may ask for.",
        ),
    ] = None,
    models: Annotated[
        str | None, typer.Option(help="Models that it may use, with commas between; all without the flag.")
    ] = None,
    admin: Annotated[
        bool, typer.Option("--admin", help="It may manage models, and see the usage of all keys.")
    ] = False,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="`90d`, `12h`, or a date such as 2030-01-31 (UTC).")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Make a key and print it, this once: only its hash is kept.

    A running server takes it within two seconds. From the first key on, every request needs one.

    \b
    auricle keys create reporter
    auricle keys create guest --tier free --expires 90d --models small,base
    auricle keys create operator --admin
    """
    from auricle.server.limits import parse_rates, parse_tiers
    from auricle.store.key import ApiKey, PriorityName, hash_secret, new_id, new_secret, shown_prefix

    if not _SANE_NAME.fullmatch(name):
        raise InvalidOption("a name is 1 to 50 letters, digits and any of ._@+-", param="name")
    tiers = parse_tiers(settings.tiers)
    if tier is not None and tier not in tiers:
        raise InvalidOption(
            f"--tier {tier!r}: the tiers (AURICLE_TIERS) are {', '.join(tiers) or 'none'}", param="tier"
        )
    if priority is not None and priority not in get_args(PriorityName):
        raise InvalidOption(f"--priority {priority!r} is none of {', '.join(get_args(PriorityName))}", param="priority")
    try:
        parse_rates(limits)
    except ValueError as exc:
        raise InvalidOption(f"--limits: {exc}", param="limits") from exc
    secret = new_secret()
    key = ApiKey(
        id=new_id(),
        name=name,
        sha256=hash_secret(secret),
        prefix=shown_prefix(secret),
        tier=tier,
        limits=limits,
        priority=cast("PriorityName | None", priority),
        models=None if models is None else tuple(part.strip() for part in models.split(",") if part.strip()),
        is_admin=admin,
        expires_at=_parse_expiry(expires),
    )
    with _open_keys(settings) as store:
        key = store.add(key)
    if not settings.database_url.get_secret_value():
        (settings.data_dir / KEYS_MARK).touch()
    if as_json:
        typer.echo(json.dumps({"key": secret} | _describe(key), indent=2))
        return
    typer.echo(secret)
    say(f"{name}: {key.id}. Keep the key; it is not shown again.")


@app.command(name="list")
@takes_settings("data_dir", "database_url")
def list_(settings: Settings, as_json: _Json = False) -> None:
    """List the keys of the database, those included that are no longer valid; of each only its first characters.

    \b
    auricle keys list
    auricle keys list --json
    """
    with _open_keys(settings) as store:
        rows = [_describe(key) for key in store.listing()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    headings = ("name", "id", "key", "state", "limits", "priority", "models", "admin", "created", "expires")
    print_table(headings, [_row(row) for row in rows])


@app.command()
@takes_settings("data_dir", "database_url")
def revoke(
    settings: Settings,
    keys: Annotated[
        list[str], typer.Argument(metavar="KEY", help="Its name, its id, or its first characters.", show_default=False)
    ],
) -> None:
    """Have keys let nobody in any more; a running server takes note within two seconds.

    What belongs to the key stays. Its name can be given to a new key, which is another owner.

    \b
    auricle keys revoke guest
    """
    with _open_keys(settings) as store:
        for name in keys:
            revoked = store.revoke(name)
            say(f"{revoked.name}: {revoked.id} is revoked")


@contextmanager
def _open_keys(settings: Settings) -> "Generator[KeyStore]":
    """Raises Busy where the database does not work."""
    from auricle.store.opening import open_account_stores
    from auricle.store.unavailable import StoreUnavailable

    try:
        stores = open_account_stores(settings.data_dir, url=settings.database_url.get_secret_value())
        try:
            yield stores.keys
        finally:
            stores.close()
    except StoreUnavailable as exc:
        raise Busy(f"the database does not work: {exc}") from exc


def _parse_expiry(text: str | None) -> datetime | None:
    if text is None:
        return None
    now = datetime.now(UTC)
    if match := _SPAN.fullmatch(text):
        number = int(match[1])
        moment = now + (timedelta(days=number) if match[2] == "d" else timedelta(hours=number))
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as exc:
            raise InvalidOption(f"--expires {text!r}: write 90d, 12h, or a date such as 2030-01-31") from exc
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if moment <= now:
        raise InvalidOption(f"--expires {text!r} is in the past", param="expires")
    return moment


def _describe(key: "ApiKey") -> dict[str, Any]:
    now = datetime.now(UTC)
    state = "revoked" if key.revoked_at else "valid" if key.is_valid(now) else "expired"
    return {
        "name": key.name,
        "id": key.id,
        "prefix": key.prefix,
        "state": state,
        "tier": key.tier,
        "limits": key.limits,
        "priority": key.priority,
        "models": None if key.models is None else list(key.models),
        "admin": key.is_admin,
        "created": _iso(key.created_at),
        "expires": _iso(key.expires_at),
        "revoked": _iso(key.revoked_at),
    }


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        row["id"],
        row["prefix"] + "…",
        row["state"],
        row["limits"] or row["tier"] or "-",
        row["priority"] or "-",
        "all" if row["models"] is None else ",".join(row["models"]),
        "yes" if row["admin"] else "",
        row["created"][:10],
        (row["expires"] or "-")[:10],
    )


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
