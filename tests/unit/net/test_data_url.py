"""Bytes that are in the URL itself."""

import base64

import pytest

from auricle.errors import AudioTooLarge, InvalidOption
from auricle.net.data_url import parse_data_url

DATA = bytes(range(256))
ENCODED = base64.b64encode(DATA).decode()


@pytest.mark.parametrize(
    "url",
    [
        f"data:audio/wav;base64,{ENCODED}",
        f"DATA:Audio/WAV;codecs=1;Base64,{ENCODED}",
        f"data:audio/wav;base64,{ENCODED.rstrip('=')}",
        f"data:audio/wav;base64,{base64.urlsafe_b64encode(DATA).decode()}",
        f"data:audio/wav;base64,{ENCODED[:100]}%0A{ENCODED[100:]}",
        f"data:audio/wav;base64,{ENCODED.replace('=', '%3D')}",
        "data:audio/wav," + "".join(f"%{byte:02x}" for byte in DATA),
    ],
)
def test_base64_and_percent_signs_are_decoded(url: str) -> None:
    assert parse_data_url(url, max_bytes=256) == ("audio/wav", DATA)


@pytest.mark.parametrize("url", ["data:audio/wav;base64", "data:;base64,A", "data:;base64,!!!!", "data:;base64,AA=A"])
def test_what_cannot_be_decoded_is_an_invalid_option(url: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        parse_data_url(url, max_bytes=256)
    assert caught.value.param == "url"


@pytest.mark.parametrize("url", [f"data:;base64,{ENCODED}", "data:," + "x" * 256, "data:," + "x" * 100_000])
def test_more_bytes_than_allowed_are_refused(url: str) -> None:
    with pytest.raises(AudioTooLarge):
        parse_data_url(url, max_bytes=255)
