"""What a webhook message looks like, and when it is tried again. Pure: clock and chance are handed in.

The headers and the signature are those of Standard Webhooks (github.com/standard-webhooks/standard-webhooks).
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from auricle.errors import InvalidOption

SECRET_PREFIX = "whsec_"  # noqa: S105
MIN_SECRET_BYTES = 24
MAX_SECRET_BYTES = 64
MAX_HEADERS = 32
MAX_HEADERS_CHARS = 8192

FIRST_DELAY_S = 5.0
MAX_DELAY_S = 3600.0
"""The longest pause between two tries, whoever wants a longer one."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", re.ASCII)
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*", re.ASCII)
_REFUSED_HEADERS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_REFUSED_PREFIXES = ("webhook-", "proxy-")


def check_webhook_secret(secret: str, *, param: str = "webhook") -> str:
    """The secret, if it is one that signatures can be made with; else InvalidOption, which does not repeat it."""
    try:
        size = len(_key(secret))
    except (ValueError, binascii.Error):
        size = 0
    if not MIN_SECRET_BYTES <= size <= MAX_SECRET_BYTES:
        raise InvalidOption(
            f"A webhook's secret is {SECRET_PREFIX} and then {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes in base64, "
            f"such as that of: echo {SECRET_PREFIX}$(openssl rand -base64 32)",
            param=param,
        )
    return secret


def check_webhook_headers(headers: Mapping[str, str], *, param: str = "webhook") -> dict[str, str]:
    """Headers that a caller wants sent with its webhook, names in small letters; InvalidOption names a bad one."""
    if len(headers) > MAX_HEADERS or sum(len(name) + len(value) for name, value in headers.items()) > MAX_HEADERS_CHARS:
        raise InvalidOption(
            f"A webhook takes at most {MAX_HEADERS} headers, with {MAX_HEADERS_CHARS} characters in all.", param=param
        )
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise InvalidOption(f"{name[:40]!r} is no name of a header.", param=param)
        if name.lower() in _REFUSED_HEADERS or name.lower().startswith(_REFUSED_PREFIXES):
            raise InvalidOption(f"The header {name} belongs to the connection or to the signature.", param=param)
        if not _HEADER_VALUE.fullmatch(value):
            raise InvalidOption(f"The header {name} holds characters other than printable ASCII.", param=param)
    return {name.lower(): value.strip() for name, value in headers.items()}


def message_headers(message_id: str, body: bytes, *, secret: str | None, now: datetime) -> dict[str, str]:
    """The headers that say which message it is, and that it is genuine.

    ``message_id`` is the same in every try, so that a receiver can tell a message that it has already. Without a
    secret there is no signature.
    """
    timestamp = str(int(now.timestamp()))
    headers = {"webhook-id": message_id, "webhook-timestamp": timestamp}
    if secret is None:
        return headers
    return headers | {"webhook-signature": sign(message_id, timestamp, body, secret)}


def sign(message_id: str, timestamp: str, body: bytes, secret: str) -> str:
    """HMAC-SHA256 over id, time and body, in the form ``v1,base64``."""
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def retry_delay_s(attempts: int, chance: float, retry_after_s: float | None = None) -> float:
    """Pause after that many failed tries; ``chance`` is from [0, 1).

    Exponential backoff with full jitter: anywhere between nothing and 5 s, 10 s, … an hour, so that the messages that
    failed together do not come back together. A receiver that names a time is not asked before it, up to an hour.
    """
    ceiling = min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** min(attempts - 1, 30))
    return max(chance * ceiling, min(retry_after_s or 0.0, MAX_DELAY_S))


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date; None where it says neither."""
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds())


def _key(secret: str) -> bytes:
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError("the prefix is missing")
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
