"""What is refused before anything is looked up."""

import pytest

from auricle.errors import AuricleError, ForbiddenUrl, InvalidOption
from auricle.net.addresses import Allowlist
from auricle.net.urls import HTTP_SCHEMES, check_url, shown_url

GOOD = [
    "http://files.example/a.mp3",
    "HTTPS://Files.Example:8443/a.mp3?x=1#part",
    "https://user:password@files.example/a",
    "https://bücher.example/ä.mp3",
    "http://files.example./a",
    "http://8.8.8.8/a",
    "http://[2606:4700:4700::1111]/a",
    "http://xn--bcher-kva.example/",
    "http://under_score.example/",
    "data:audio/wav;base64,AAAA",
]
NO_URL = [
    "",
    "files.example/a.mp3",
    "/etc/passwd",
    " https://files.example/",
    "https://",
    "https:///a.mp3",
    "http:files.example",
    "https://files.example:abc/",
    "https://files.example/" + "a" * 9000,
    "s3://bucket",
    "https://１２７.0.0.1/",
]
FORBIDDEN = [
    "file:///etc/passwd",
    "ftp://files.example/a",
    "gopher://127.0.0.1:6379/_INFO",
    "dict://127.0.0.1/",
    "javascript:alert(1)",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://a.localhost/",
    "http://127.0.0.1/",
    "http://127.0.0.1./",
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://0/",
    "http://0.0.0.0/",
    "http://127.0.0.1.0x0/",
    "http://134744072/",
    "http://999.1.1.1/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:7f00:1]/",
    "http://[fe80::1%25eth0]/",
    "http://[::1",
    "http://[1.2.3.4]/",
    "http://files.example@127.0.0.1/",
    "http://files.example:80@127.0.0.1/",
    "http://127.0.0.1#@files.example/",
    "http://127.0.0.1?@files.example/",
    "http://files.example\\@127.0.0.1/",
    "http://127.0.0.1\\@files.example/",
    "http://127.0.0.1%2f@[::1]/",
    "http://%31%32%37.0.0.1/",
    "http://files.example%00.evil/",
    "http://files.example\t/",
    "http://files.example\r\nHost: evil/",
    "http://files.example:0/",
    "http://files.example:65536/",
    "http://-files.example/",
    "http://files..example/",
    "http://" + "a" * 64 + ".example/",
    "http://169.254.169.254/latest/meta-data/",
    "s3://secrets/key",
]


@pytest.mark.parametrize("url", GOOD)
def test_urls_of_the_internet_pass(url: str) -> None:
    check_url(url, Allowlist())


@pytest.mark.parametrize("url", NO_URL)
def test_what_is_no_url_is_an_invalid_option(url: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        check_url(url, Allowlist())
    assert caught.value.param == "url"


@pytest.mark.parametrize("url", FORBIDDEN)
def test_what_must_not_be_fetched_is_forbidden(url: str) -> None:
    with pytest.raises(ForbiddenUrl):
        check_url(url, Allowlist())


def test_the_error_names_the_field_that_had_the_url() -> None:
    with pytest.raises(ForbiddenUrl) as caught:
        check_url("http://10.0.0.1/", Allowlist(), param="webhook")
    assert caught.value.param == "webhook"


def test_the_list_lets_hosts_networks_and_buckets_pass() -> None:
    allow = Allowlist.parse(["127.0.0.1", "*.corp", "s3://calls"])
    for url in ("http://127.0.0.1:9000/", "http://localhost/", "http://files.corp/", "s3://calls/monday/1.wav"):
        check_url(url, allow)


@pytest.mark.parametrize("url", ["s3://calls@evil/key", "az://calls@evil.blob.core.windows.net/key", "s3://calls"])
def test_a_bucket_url_cannot_name_another_server(url: str) -> None:
    with pytest.raises(InvalidOption):
        check_url(url, Allowlist.parse(["s3://*", "az://*"]))


@pytest.mark.parametrize("url", ["data:,x", "s3://calls/key"])
def test_a_webhook_goes_to_http_only(url: str) -> None:
    with pytest.raises(ForbiddenUrl, match="https:, http:"):
        check_url(url, Allowlist.parse(["s3://*"]), schemes=HTTP_SCHEMES)


def test_any_text_is_either_taken_or_refused_by_name() -> None:
    hosts = ["", "a", "1", "[", "]", ":", "@", "%", "\\", "[::1]", "..", "xn--", "\u2024", "٣", "a" * 300, "\x00"]
    for host in hosts:
        for url in (f"http://{host}", f"http://{host}/", f"http://a@{host}:1/", f"{host}://a/", f"http:{host}"):
            try:
                check_url(url, Allowlist())
            except AuricleError as exc:
                assert isinstance(exc, InvalidOption | ForbiddenUrl), url  # noqa: PT017


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:secret@files.example/a.mp3?token=secret#secret", "https://files.example/a.mp3"),
        ("data:audio/wav;base64,c2VjcmV0", "data:"),
        ("s3://calls/monday/1.wav?versionId=secret", "s3://calls/monday/1.wav"),
        ("no url", ""),
        ("https://files.example?secret", "https://files.example"),
        ("https://a@secret@files.example", "https://files.example"),
    ],
)
def test_what_is_shown_of_a_url_holds_no_secret(url: str, shown: str) -> None:
    assert shown_url(url) == shown
