"""Requests that no client library would send. The server must answer or hang up, and go on."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
from live_server import DIGITS, LiveServer, wait_until

PATH = "/v1/audio/transcriptions"
MULTIPART = "multipart/form-data; boundary=XX"


def exchange(server: LiveServer, raw: bytes) -> bytes:
    """What the server answers until it closes the connection or falls silent."""
    url = httpx.URL(server.url)
    with socket.create_connection((url.host, url.port), timeout=10) as connection:
        answer = b""
        with suppress(OSError):  # Hanging up is an answer.
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65_536):
                answer += chunk
        return answer


@pytest.fixture(autouse=True)
def _goes_on(server: LiveServer) -> Iterator[None]:
    yield
    assert server.health()["ready"]
    wait_until(lambda: server.uploads() == [] and server.health()["requests"] == 0)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST " + PATH.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST "
        + PATH.encode()
        + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\nzz",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
    ],
)
def test_broken_http_is_refused(server: LiveServer, raw: bytes) -> None:
    answer = exchange(server, raw)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))


def test_thousands_of_headers_do_no_harm(server: LiveServer) -> None:
    answer = httpx.get(f"{server.url}/health", headers={f"x-{index}": "y" for index in range(3000)})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (MULTIPART, b"--YY\r\n\r\n"),
        (MULTIPART, b""),
        (MULTIPART, b"--XX\r\n" * 1000),
        (MULTIPART, b'--XX\r\nContent-Disposition: form-data; name="file"\r\n\r\nRIFF'),
        (MULTIPART, b'--XX\r\nContent-Disposition: form-data; name="\xff\xfe"\r\n\r\nx\r\n--XX--\r\n'),
        (
            MULTIPART,
            b'--XX\r\nContent-Disposition: form-data; name="file"; filename="../../x\x00"\r\n\r\n\r\n--XX--\r\n',
        ),
        (f"multipart/form-data; boundary={'b' * 5000}", b"--b"),
        ("multipart/form-data", b"--XX--"),
        ("application/json", b'{"model": "whisper-1", "audio": "AAAA"}'),
        ("application/x-www-form-urlencoded", b"file=x&model=whisper-1"),
        ("text/\xe9", b"x"),
        ("", b""),
    ],
)
def test_a_body_that_is_no_form_is_a_bad_request(server: LiveServer, content_type: str, body: bytes) -> None:
    headers = {"content-type": content_type.encode("latin-1")}
    answer = httpx.post(server.url + PATH, content=body, headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_file_named_like_a_path_is_only_audio(server: LiveServer) -> None:
    files = {"file": ("../../../etc/passwd\0", DIGITS.read_bytes(), "application/x-sh")}
    assert httpx.post(server.url + PATH, files=files, timeout=60).json()["text"]


def test_a_playlist_cannot_make_the_server_read_its_own_files(server: LiveServer) -> None:
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    answer = httpx.post(server.url + PATH, files={"file": ("a.m3u8", playlist)}, timeout=60)
    assert answer.status_code == 415
    assert "root:" not in answer.text
