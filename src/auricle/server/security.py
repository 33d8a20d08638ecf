"""What may not reach the server through somebody's browser, and what counts as this machine."""

import re
from collections.abc import Collection
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from auricle.errors import Forbidden

_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
_READS = {"GET", "HEAD", "OPTIONS"}
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^\s\[\]:/@?#]+)(:\d{1,5})?")
_EXPOSED = (
    "retry-after",
    "server-timing",
    "x-auricle-cache",
    "x-auricle-warnings",
    "x-ratelimit-limit-audio-seconds",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-audio-seconds",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-audio-seconds",
    "x-ratelimit-reset-requests",
    "x-request-id",
)
_PREFLIGHT_S = 600


def cors_options(origins: Collection[str]) -> dict[str, Any]:
    """For Starlette's CORSMiddleware: pages of ``origins`` get answers. Keys are headers, so no cookies are needed."""
    return {
        "allow_origins": tuple(origins),
        "allow_methods": ("*",),
        "allow_headers": ("*",),
        "expose_headers": _EXPOSED,
        "max_age": _PREFLIGHT_S,
    }


def is_loopback(host: str) -> bool:
    """Whether an address or a name is this machine's own for itself."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def is_local(connection: HTTPConnection) -> bool:
    """Whether a program of this machine asks.

    What came through a proxy, and what a web page of elsewhere sent (its browser may run on this machine), does not
    come from here.
    """
    origin = connection.headers.get("origin")
    return (
        connection.client is not None
        and is_loopback(connection.client.host)
        and not any(name in connection.headers for name in _FORWARDED)
        and (origin is None or is_loopback(_host_of(origin)))
    )


def check_host(connection: HTTPConnection, trusted: Collection[str], *, host: str, has_keys: bool) -> None:
    """Raises Forbidden for a ``Host`` header that names another server than this one.

    A page of elsewhere can give its own name this machine's address (DNS rebinding); to the browser the server is then
    part of that page. The header still has the page's name. Where nothing is set in ``trusted``, this is checked on
    loopback addresses without keys only, and names that nobody can register pass: addresses, and names without a dot.
    """
    given = connection.headers.get("host")
    if given is None or "*" in trusted:
        return
    match = _HOST.fullmatch(given)
    name = match["name"].strip("[]").rstrip(".").lower() if match else ""
    if is_loopback(name) or any(_matches(name, pattern.lower()) for pattern in trusted):
        return
    is_checked = trusted or (not has_keys and is_loopback(host))
    if is_checked and (trusted or not _is_unregistrable(name)):
        raise Forbidden(
            f"The Host header says {given[:100]!r}, which is no name of this server; AURICLE_TRUSTED_HOSTS lists those."
        )


def check_browser(connection: HTTPConnection, origins: Collection[str]) -> None:
    """Raises Forbidden where a web page of elsewhere has a browser send what changes something or costs work.

    ``origins`` are those that may.
    """
    scope, headers = connection.scope, connection.headers
    if scope["type"] == "http" and scope["method"] in _READS:
        return
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site in {"same-origin", "none"} or (origin is None and site is None):
        return
    if origin is not None and ("*" in origins or origin in origins or _is_own(origin, headers.get("host"))):
        return
    raise Forbidden(
        f"Web pages of {(origin or 'other sites')[:100]!r} may not use this server; AURICLE_CORS_ORIGINS lists those "
        "that may."
    )


def _is_own(origin: str, host: str | None) -> bool:
    """Whether the page is the server's, or one of this machine."""
    return is_loopback(_host_of(origin)) or (host is not None and _netloc(origin) == host.lower())


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or (pattern.startswith("*.") and name.endswith(pattern[1:]))


def _is_unregistrable(name: str) -> bool:
    """Whether no stranger can have this name lead to this machine."""
    try:
        ip_address(name)
    except ValueError:
        return name != "" and "." not in name
    return True
