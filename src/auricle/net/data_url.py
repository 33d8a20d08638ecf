"""``data:`` URLs (RFC 2397): the bytes are in the URL itself."""

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from auricle.errors import InvalidOption
from auricle.net.sink import too_large

_BLANKS = re.compile(rb"[ \t\r\n]+")


def parse_data_url(url: str, *, max_bytes: int) -> tuple[str, bytes]:
    """Media type and bytes. Raises InvalidOption, and AudioTooLarge before anything large is made."""
    head, comma, body = url.partition(",")
    if not comma:
        raise InvalidOption("The data: URL has no comma, after which the data would begin.", param="url")
    media_type, *parameters = head[len("data:") :].split(";")
    # Percent signs and base64 only ever make it shorter: by two thirds, and by a quarter.
    if len(body) > 4 * (max_bytes + 1024):
        raise too_large(max_bytes, len(body) // 4)
    data = unquote_to_bytes(body)
    if any(parameter.strip().lower() == "base64" for parameter in parameters):
        data = _decode(data)
    if len(data) > max_bytes:
        raise too_large(max_bytes, len(data))
    return media_type.strip().lower(), data


def _decode(text: bytes) -> bytes:
    text = _BLANKS.sub(b"", text).rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as exc:
        raise InvalidOption(f"The data: URL is not base64 ({exc}).", param="url") from exc
