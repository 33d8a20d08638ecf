"""Connections go to checked addresses, and to nowhere else."""

import asyncio
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import httpx2
import pytest

from auricle.errors import ForbiddenUrl
from auricle.net.addresses import Allowlist
from auricle.net.client import _ssl_context, guarded_client
from web_server import Asked, always, reply, web_server

FIRST_ONLY = Allowlist.parse(["127.0.0.1"])


class Names:
    """Takes the place of DNS: each name has a list of answers, of which the last one stays."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self.answers = {name.replace("_", "."): list(given) for name, given in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self.answers[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


async def test_the_name_stays_in_the_host_header() -> None:
    names = Names(files_test=[["127.0.0.1"]])
    async with web_server(always(b"x")) as server, guarded_client(FIRST_ONLY, timeout_s=5, resolve=names) as client:
        await client.get(f"http://files.test:{server.port}/a")
    assert server.requests[0].headers["host"] == f"files.test:{server.port}"


async def test_a_name_is_looked_up_once_and_the_checked_address_is_the_one_connected_to() -> None:
    names = Names(rebind_test=[["127.0.0.1"], ["127.0.0.2"]])
    async with web_server(always(b"good")) as server, guarded_client(FIRST_ONLY, timeout_s=5, resolve=names) as client:
        assert (await client.get(f"http://rebind.test:{server.port}/")).content == b"good"
        assert names.asked == ["rebind.test"]
        with pytest.raises(ForbiddenUrl):
            await client.get(f"http://rebind.test:{server.port}/")


async def test_one_closed_address_among_several_closes_the_name() -> None:
    names = Names(mixed_test=[["127.0.0.1", "127.0.0.2"]], turned_test=[["127.0.0.2", "127.0.0.1"]])
    async with web_server(always(b"x")) as server, guarded_client(FIRST_ONLY, timeout_s=5, resolve=names) as client:
        for name in ("mixed.test", "turned.test"):
            with pytest.raises(ForbiddenUrl):
                await client.get(f"http://{name}:{server.port}/")
    assert server.connections == 0


async def test_the_second_address_is_tried_where_the_first_does_not_answer() -> None:
    names = Names(files_test=[["127.0.0.3", "127.0.0.1"]])
    allow = Allowlist.parse(["127.0.0.0/8"])
    async with web_server(always(b"x")) as server, guarded_client(allow, timeout_s=5, resolve=names) as client:
        assert (await client.get(f"http://files.test:{server.port}/")).content == b"x"


async def test_a_name_without_addresses_is_a_connection_error() -> None:
    async with guarded_client(FIRST_ONLY, timeout_s=5, resolve=Names(none_test=[[]])) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get("http://none.test/")


@pytest.mark.parametrize("name", ["nothing.invalid", "a" * 63 + "." + "b" * 63, "a..b"])
async def test_a_name_that_does_not_exist_is_a_connection_error(name: str) -> None:
    async with guarded_client(FIRST_ONLY, timeout_s=5) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get(f"http://{name}/")


async def test_names_whose_servers_never_answer_run_into_the_time_limit() -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    async with guarded_client(FIRST_ONLY, timeout_s=0.05, resolve=never) as client:
        with pytest.raises(httpx2.ConnectTimeout):
            await client.get("http://files.test/")


async def test_the_system_looks_localhost_up_and_finds_it_closed() -> None:
    async with web_server(always()) as server, guarded_client(Allowlist(), timeout_s=5) as client:
        with pytest.raises(ForbiddenUrl):
            await client.get(f"http://localhost:{server.port}/")
    assert server.connections == 0


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with web_server(always(b"proxy")) as proxy, web_server(always(b"server")) as server:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        async with guarded_client(FIRST_ONLY, timeout_s=5) as client:
            assert (await client.get(server.url)).content == b"server"


async def test_a_redirect_is_not_followed_and_no_cookie_is_kept() -> None:
    answer = always(status=302, location="http://127.0.0.1/", set_cookie="session=1; Path=/")
    async with web_server(answer) as server, guarded_client(FIRST_ONLY, timeout_s=5) as client:
        assert (await client.get(server.url)).status_code == 302
        await client.get(server.url)
    assert "cookie" not in server.requests[1].headers


async def test_a_head_without_an_end_is_cut_off() -> None:
    async def answer(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(b"x-more: " + b"a" * 8000 + b"\r\n")
            await writer.drain()

    async with web_server(answer) as server, guarded_client(FIRST_ONLY, timeout_s=5) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get(server.url)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
async def test_the_certificate_must_be_that_of_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ssl

    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=files.test"
    names = ["-addext", "subjectAltName=DNS:files.test", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make.split(), *names], check=True, capture_output=True)  # noqa: ASYNC221
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    _ssl_context.cache_clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    sni: list[str | None] = []
    context.sni_callback = lambda _, name, __: sni.append(name)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reply(writer, b"secret")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    resolve = Names(files_test=[["127.0.0.1"]], other_test=[["127.0.0.1"]])
    async with guarded_client(FIRST_ONLY, timeout_s=5, resolve=resolve) as client:
        assert (await client.get(f"https://files.test:{port}/")).content == b"secret"
        with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get(f"https://other.test:{port}/")
    server.close()
    _ssl_context.cache_clear()
    assert sni == ["files.test", "other.test"]
