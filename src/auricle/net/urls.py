"""What can be said about a URL before anything is looked up or connected to."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

import httpx2

from auricle.errors import AuricleError, ForbiddenUrl, InvalidOption
from auricle.net.addresses import BUCKET_SCHEMES, HOST_NAME, Allowlist, check_address, forbidden, plain_host

HTTP_SCHEMES = frozenset({"http", "https"})
FETCH_SCHEMES = HTTP_SCHEMES | BUCKET_SCHEMES | {"data"}
MAX_URL_CHARS = 8192
"""Of a URL that is not ``data:``."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE | re.ASCII)
_AMBIGUOUS = re.compile(r"[\x00-\x20\x7f\\]")
"""Characters that some programs drop or take for others, so that two of them see two hosts."""
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_LIKE_ADDRESS = re.compile(r"[a-z]+://([^/?#]*@)?(\[|[0-9.x]+([:/?#]|$))", re.IGNORECASE | re.ASCII)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,253}", re.IGNORECASE | re.ASCII)
_SHOWN_CHARS = 200


def check_url(url: str, allow: Allowlist, *, schemes: frozenset[str] = FETCH_SCHEMES, param: str = "url") -> None:
    """Raise for a URL that would be refused in any case, before a job is made of it. Nothing is looked up.

    InvalidOption: it is no URL. ForbiddenUrl: it must not be fetched. ``param`` is the field that had it.
    """
    try:
        scheme = scheme_of(url)
        if scheme not in schemes:
            raise _wrong_scheme(url, schemes)
        if scheme in HTTP_SCHEMES:
            parse_http_url(url, allow)
        elif scheme in BUCKET_SCHEMES:
            parse_bucket_url(url, allow)
    except AuricleError as exc:
        raise type(exc)(exc.message, param=param) from exc


def scheme_of(url: str) -> str:
    """The scheme in small letters; raises InvalidOption where there is none."""
    match = _SCHEME.match(url)
    if match is None:
        raise InvalidOption("This is no URL: it must begin with https://, http:// or the like.", param="url")
    return match[1].lower()


def parse_http_url(url: str, allow: Allowlist) -> httpx2.URL:
    """The URL as it will be connected to; raises as ``check_url`` does."""
    if len(url) > MAX_URL_CHARS:
        raise InvalidOption(f"The URL has {len(url)} characters; at most {MAX_URL_CHARS} are taken.", param="url")
    if scheme_of(url) not in HTTP_SCHEMES:
        raise _wrong_scheme(url, HTTP_SCHEMES)
    if _AMBIGUOUS.search(url):
        raise ForbiddenUrl("The URL holds blanks, control characters or backslashes; write them as %XX.", param="url")
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as exc:
        kind = ForbiddenUrl if _LIKE_ADDRESS.match(url) else InvalidOption
        raise kind(f"The URL cannot be read: {exc}.", param="url") from exc
    if not parsed.raw_host:
        raise InvalidOption("The URL names no host.", param="url")
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise ForbiddenUrl(f"The URL has the port {parsed.port}, which does not exist.", param="url")
    _check_host(parsed.raw_host.decode("ascii"), allow)
    return parsed


def parse_bucket_url(url: str, allow: Allowlist) -> tuple[str, str, str]:
    """Scheme, bucket and key of ``s3://bucket/key`` and the like; raises as ``check_url`` does."""
    scheme = scheme_of(url)
    bucket, _, key = url[len(scheme) + 1 :].removeprefix("//").partition("/")
    # The name of a bucket must not smuggle in an account or a server of somebody else.
    if not _BUCKET.fullmatch(bucket) or not key or len(url) > MAX_URL_CHARS:
        raise InvalidOption(f"The URL must be of the form {scheme}://bucket/key.", param="url")
    if not allow.allows_bucket(scheme, bucket):
        raise ForbiddenUrl(
            f"The bucket {scheme}://{bucket[:100]} must not be read. Who runs the server can allow it by that name "
            "(AURICLE_URL_ALLOWLIST).",
            param="url",
        )
    return scheme, bucket, key


def shown_url(url: str) -> str:
    """The URL for logs, messages and answers: without credentials, query and data, which may be secret."""
    match = _SCHEME.match(url)
    if match is None or match[1].lower() == "data":
        return match[0].lower() if match else ""
    place = re.split(r"[?#]", url[match.end() :], maxsplit=1)[0].removeprefix("//")
    authority, slash, path = place.partition("/")
    return f"{match[0].lower()}//{authority.rpartition('@')[2]}{slash}{path}"[:_SHOWN_CHARS]


def _check_host(host: str, allow: Allowlist) -> None:
    address = _address(host)
    if address is not None:
        check_address(str(address), host, allow)
        return
    name = plain_host(host)
    if _NUMERIC.fullmatch(name.rpartition(".")[2]):
        raise forbidden(host, "is an address in an unusual form")
    if len(name) > 253 or not HOST_NAME.fullmatch(name):
        raise forbidden(host, "is no name of a host")
    if (name == "localhost" or name.endswith(".localhost")) and not _allows_loopback(name, allow):
        raise forbidden(host, "is the server itself")


def _allows_loopback(name: str, allow: Allowlist) -> bool:
    return allow.allows_host(name) or allow.allows_address(IPv4Address("127.0.0.1"))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _wrong_scheme(url: str, schemes: frozenset[str]) -> ForbiddenUrl:
    known = ", ".join(f"{scheme}:" for scheme in sorted(schemes, reverse=True))
    return ForbiddenUrl(f"URLs that begin with {scheme_of(url)[:20]}: are not fetched; use {known}.", param="url")
