"""Files over HTTP: bounds, redirects, transfers that break."""

import asyncio
import hashlib
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from auricle.audio.fetch import BoundedFile
from auricle.errors import AudioTooLarge, EmptyAudio, UrlRefused, UrlUnreachable
from auricle.net import fetch as fetch_module
from auricle.net import transfer as transfer_module
from auricle.net.addresses import Allowlist
from auricle.net.fetch import FetchedFile, fetch_url
from web_server import Asked, always, begin, reply, web_server

ALLOW = Allowlist.parse(["127.0.0.1"])
MIB = 1 << 20
DATA = bytes(range(256)) * 5000


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_module, "RETRY_DELAYS_S", (0.0, 0.0, 0.0))


async def fetch(folder: Path, url: str, *, max_bytes: int = 4 * MIB, **options: Any) -> FetchedFile[BoundedFile]:
    open_file = partial(BoundedFile, folder, max_bytes=max_bytes)
    return await fetch_url(url, open_file, allow=ALLOW, max_bytes=max_bytes, **{"timeout_s": 30, **options})


async def test_a_file_comes_with_its_hash_and_what_the_server_calls_it(tmp_path: Path) -> None:
    async with web_server(always(DATA, content_type="Audio/WAV; codecs=1")) as server:
        fetched = await fetch(tmp_path, f"{server.url}/a.wav?token=secret")
    assert fetched.file.path.read_bytes() == DATA
    assert fetched.file.sha256 == hashlib.sha256(DATA).hexdigest()
    assert (fetched.file.size, fetched.media_type) == (len(DATA), "audio/wav")
    assert fetched.final_url == f"{server.url}/a.wav"
    assert server.requests[0].path == "/a.wav?token=secret"
    assert server.requests[0].headers["accept-encoding"] == "identity"
    fetched.file.close()
    assert not list(tmp_path.iterdir())


async def test_a_body_that_ends_with_the_connection_is_taken(tmp_path: Path) -> None:
    async def answer(_: Asked, writer: asyncio.StreamWriter) -> None:
        begin(writer)
        writer.write(DATA)

    async with web_server(answer) as server:
        fetched = await fetch(tmp_path, server.url)
    assert fetched.file.sha256 == hashlib.sha256(DATA).hexdigest()
    fetched.file.close()


async def test_data_urls_become_files_too(tmp_path: Path) -> None:
    fetched = await fetch(tmp_path, "data:audio/wav;base64,AAAA")
    assert fetched.file.path.read_bytes() == b"\0\0\0"
    assert (fetched.media_type, fetched.final_url) == ("audio/wav", "data:")
    fetched.file.close()


async def test_a_body_that_says_it_is_too_large_is_not_read(tmp_path: Path) -> None:
    async def answer(_: Asked, writer: asyncio.StreamWriter) -> None:
        begin(writer, content_length=str(10 * 1024 * MIB))
        while not writer.is_closing():
            writer.write(bytes(MIB))
            await writer.drain()

    async with web_server(answer) as server:
        with pytest.raises(AudioTooLarge, match=r"10240\.0 MiB; at most 4 MiB"):
            await fetch(tmp_path, server.url)
    assert len(server.requests) == 1
    assert not list(tmp_path.iterdir())


async def test_an_endless_body_is_cut_off_at_the_limit_and_takes_no_memory(tmp_path: Path) -> None:
    sent = 0

    async def answer(_: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        begin(writer, transfer_encoding="chunked")
        block = b"100000\r\n" + bytes(MIB) + b"\r\n"
        while sent < 10 * 1024:
            writer.write(block)
            await writer.drain()
            sent += 1

    async with web_server(answer) as server:
        tracemalloc.start()
        with pytest.raises(AudioTooLarge):
            await fetch(tmp_path, server.url, max_bytes=64 * MIB)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert 64 <= sent < 96
    assert peak < 16 * MIB
    assert not list(tmp_path.iterdir())


async def test_a_body_that_drips_is_cut_off_by_the_time_limit(tmp_path: Path) -> None:
    async def answer(_: Asked, writer: asyncio.StreamWriter) -> None:
        begin(writer, content_length="1000000")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with web_server(answer) as server:
        with pytest.raises(UrlRefused, match="AURICLE_MAX_URL_S"):
            await fetch(tmp_path, server.url, timeout_s=0.3)
    assert not list(tmp_path.iterdir())


async def test_a_body_that_drips_is_cut_off_before_where_there_is_a_least_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer_module, "RATE_WINDOW_S", 0.1)

    async def answer(_: Asked, writer: asyncio.StreamWriter) -> None:
        begin(writer, content_length="1000000")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with web_server(answer) as server:
        with pytest.raises(UrlRefused, match="AURICLE_MIN_UPLOAD_KB_S"):
            await fetch(tmp_path, server.url, min_bytes_s=1024)
    assert len(server.requests) == 1
    assert not list(tmp_path.iterdir())


async def test_a_server_that_never_answers_is_cut_off_by_the_time_limit(tmp_path: Path) -> None:
    async def answer(_: Asked, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.001)

    async with web_server(answer) as server:
        with pytest.raises(UrlRefused):
            await fetch(tmp_path, server.url, timeout_s=0.3)


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "gzip, gzip"])
async def test_a_compressed_body_is_refused_and_never_unpacked(tmp_path: Path, encoding: str) -> None:
    async with web_server(always(DATA, content_encoding=encoding)) as server:
        with pytest.raises(UrlRefused, match="compressed"):
            await fetch(tmp_path, server.url)
    assert not list(tmp_path.iterdir())


async def test_an_empty_body_is_empty_audio(tmp_path: Path) -> None:
    async with web_server(always(b"")) as server:
        with pytest.raises(EmptyAudio):
            await fetch(tmp_path, server.url)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("status", [204, 304, 400, 401, 403, 404, 410])
async def test_a_server_that_says_no_is_asked_once(tmp_path: Path, status: int) -> None:
    async with web_server(always(status=status)) as server:
        with pytest.raises(UrlRefused, match=f"status {status}") as caught:
            await fetch(tmp_path, server.url)
    assert not caught.value.retryable
    assert len(server.requests) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_in_trouble_is_asked_again(tmp_path: Path, status: int) -> None:
    async def answer(_: Asked, writer: asyncio.StreamWriter) -> None:
        reply(writer, DATA, status=status if len(server.requests) < 3 else 200)

    async with web_server(answer) as server:
        fetched = await fetch(tmp_path, server.url)
        assert fetched.file.size == len(DATA)
        fetched.file.close()
    assert len(server.requests) == 3


async def test_a_server_that_stays_in_trouble_may_work_later(tmp_path: Path) -> None:
    async with web_server(always(status=503)) as server:
        with pytest.raises(UrlUnreachable, match="503") as caught:
            await fetch(tmp_path, server.url)
    assert caught.value.retryable
    assert caught.value.code == "url_unreachable"
    assert len(server.requests) == 4


async def test_nobody_who_listens_is_a_failure_that_may_pass(tmp_path: Path) -> None:
    async with web_server(always()) as server:
        pass
    with pytest.raises(UrlUnreachable, match="connection failed"):
        await fetch(tmp_path, server.url)
    assert not list(tmp_path.iterdir())


async def test_a_broken_transfer_goes_on_where_it_broke(tmp_path: Path) -> None:
    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        start = int(asked.headers.get("range", "bytes=0-")[6:-1])
        end = min(start + 500_000, len(DATA))
        place = {"content_range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"} if start else {}
        begin(writer, status=206 if start else 200, content_length=str(len(DATA) - start), etag='"1"', **place)
        writer.write(DATA[start:end])

    async with web_server(answer) as server:
        fetched = await fetch(tmp_path, server.url)
    assert fetched.file.sha256 == hashlib.sha256(DATA).hexdigest()
    assert [asked.headers.get("range") for asked in server.requests] == [None, "bytes=500000-", "bytes=1000000-"]
    assert server.requests[1].headers["if-range"] == '"1"'
    fetched.file.close()


@pytest.mark.parametrize(
    "tag", [{"etag": '"1"'}, {"etag": 'W/"1"'}, {}, {"last_modified": "Sun, 01 Nov 2026 08:00:00 GMT"}]
)
async def test_where_it_cannot_go_on_it_begins_anew(tmp_path: Path, tag: dict) -> None:
    async def answer(_: Asked, writer: asyncio.StreamWriter) -> None:
        begin(writer, content_length=str(len(DATA)), **tag)
        writer.write(DATA if len(server.requests) > 1 else b"other" * 1000)

    async with web_server(answer) as server:
        fetched = await fetch(tmp_path, server.url)
    assert fetched.file.sha256 == hashlib.sha256(DATA).hexdigest()
    can_go_on = tag and not tag.get("etag", "").startswith("W/")
    assert ("range" in server.requests[1].headers) == bool(can_go_on)
    fetched.file.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content_range", ["", "bytes 0-9/10", "bytes 5001-9999/10000", "bytes 5000-5001/10000", "bytes 5000-9999/*", "x"]
)
async def test_a_part_that_was_not_asked_for_is_not_put_into_the_file(tmp_path: Path, content_range: str) -> None:
    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if "range" in asked.headers:
            reply(writer, b"wrong", status=206, content_range=content_range)
        elif len(server.requests) == 1:
            begin(writer, content_length="10000", etag='"1"')
            writer.write(DATA[:5000])
        else:
            reply(writer, DATA[:10000])

    async with web_server(answer) as server:
        fetched = await fetch(tmp_path, server.url)
    assert fetched.file.path.read_bytes() == DATA[:10000]
    fetched.file.close()


async def test_a_transfer_that_breaks_each_time_is_given_up(tmp_path: Path) -> None:
    async def answer(_: Asked, writer: asyncio.StreamWriter) -> None:
        begin(writer, content_length="10000")
        writer.write(b"x")

    async with web_server(answer) as server:
        with pytest.raises(UrlUnreachable):
            await fetch(tmp_path, server.url)
        assert len(server.requests) == 4
        with pytest.raises(UrlUnreachable):
            await fetch(tmp_path, server.url, resume=False)
        assert len(server.requests) == 5
    assert not list(tmp_path.iterdir())


async def test_credentials_stay_with_their_host(tmp_path: Path) -> None:
    async with web_server(always(DATA)) as other:

        async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
            place = {"/1": "/2", "/2": f"http://127.0.0.1:{server.port}/3", "/3": f"{other.url}/4"}[asked.path]
            reply(writer, status=302, location=place)

        async with web_server(answer) as server:
            fetched = await fetch(tmp_path, f"http://user:secret@127.0.0.1:{server.port}/1")
    assert [asked.headers.get("authorization") for asked in server.requests] == ["Basic dXNlcjpzZWNyZXQ="] * 3
    assert "authorization" not in other.requests[0].headers
    assert "cookie" not in other.requests[0].headers
    fetched.file.close()


async def test_credentials_of_a_redirect_are_dropped(tmp_path: Path) -> None:
    async with web_server(always(DATA)) as other:
        location = f"http://user:secret@127.0.0.1:{other.port}/"
        async with web_server(always(status=302, location=location)) as server:
            fetched = await fetch(tmp_path, server.url)
    assert "authorization" not in other.requests[0].headers
    assert fetched.final_url == f"{other.url}/"
    fetched.file.close()


@pytest.mark.parametrize(("redirects", "works"), [(5, True), (6, False)])
async def test_redirects_end_somewhere(tmp_path: Path, redirects: int, works: bool) -> None:
    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        left = int(asked.path[1:])
        if left:
            reply(writer, b"not this", status=307, location=f"/{left - 1}")
        else:
            reply(writer, DATA)

    async with web_server(answer) as server:
        if works:
            (await fetch(tmp_path, f"{server.url}/{redirects}")).file.close()
        else:
            with pytest.raises(UrlRefused, match="more than 5 redirects"):
                await fetch(tmp_path, f"{server.url}/{redirects}")
    assert not list(tmp_path.iterdir())
    assert len(server.requests) == 6


async def test_a_client_that_leaves_leaves_nothing(tmp_path: Path) -> None:
    started = asyncio.Event()

    async def answer(_: Asked, writer: asyncio.StreamWriter) -> None:
        begin(writer, content_length="1000000")
        writer.write(b"x" * 1000)
        await writer.drain()
        started.set()
        await asyncio.sleep(60)

    async with web_server(answer) as server:
        task = asyncio.create_task(fetch(tmp_path, server.url))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not list(tmp_path.iterdir())
