"""URLs and redirects that try to get inside. A server that must not be reached listens, and counts who comes."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from auricle.audio.fetch import BoundedFile
from auricle.errors import ForbiddenUrl, InvalidOption, UrlUnreachable
from auricle.net.addresses import Allowlist
from auricle.net.fetch import FetchedFile, fetch_url
from web_server import WebServer, always, web_server

# {port} is that of the server that must not be reached; it listens at 127.0.0.2.
DIRECT = [
    "http://127.0.0.2:{port}/",
    "http://127.0.0.2:{port}",
    "http://127.2:{port}/",
    "http://127.0.2:{port}/",
    "http://2130706434:{port}/",
    "http://0x7f000002:{port}/",
    "http://0x7f.0x0.0x0.0x2:{port}/",
    "http://0177.0.0.2:{port}/",
    "http://017700000002:{port}/",
    "http://0177.0x0.0.2:{port}/",
    "http://127.0.0.2.:{port}/",
    "http://[::ffff:127.0.0.2]:{port}/",
    "http://[::ffff:7f00:2]:{port}/",
    "http://[0:0:0:0:0:ffff:7f00:0002]:{port}/",
    "http://[::127.0.0.2]:{port}/",
    "http://[64:ff9b::127.0.0.2]:{port}/",
    "http://[64:ff9b:1::7f00:2]:{port}/",
    "http://[2002:7f00:2::]:{port}/",
    "http://[2001:0:7f00:2::]:{port}/",
    "http://[::1]:{port}/",
    "http://[::]:{port}/",
    "http://[fe80::1%25lo]:{port}/",
    "http://0:{port}/",
    "http://0.0.0.0:{port}/",
    "http://localhost:{port}/",
    "http://LocalHost.:{port}/",
    "http://files.example@127.0.0.2:{port}/",
    "http://files.example:80@127.0.0.2:{port}/",
    "http://files.example%40127.0.0.2:{port}@127.0.0.2:{port}/",
    "http://127.0.0.2:{port}#@files.example/",
    "http://127.0.0.2:{port}?@files.example/",
    "http://127.0.0.2:{port}\\@files.example/",
    "http://files.example\\@127.0.0.2:{port}/",
    "http:\\\\127.0.0.2:{port}/",
    "http:/\\127.0.0.2:{port}/",
    "http://%31%32%37.0.0.2:{port}/",
    "http://①②⑦.⓪.⓪.②:{port}/",
    "http://１２７。０。０。２:{port}/",
    "http://127\u30020\u30020\u30022:{port}/",
    "http://127.0.0.2\t:{port}/",
    "http://127.0.0.2:{port}\r\nX: y/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://100.100.100.200/latest/meta-data/",
    "http://168.63.129.16/machine",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://[ff02::1]/",
    "http://[fc00::1]/",
    "http://127.0.0.2:0/",
    "https://127.0.0.2:{port}/",
    "ftp://127.0.0.2:{port}/",
    "gopher://127.0.0.2:{port}/_GET",
    "file:///etc/passwd",
    "file://127.0.0.2/etc/passwd",
    "unix:///var/run/docker.sock",
    "s3://bucket/key",
    # Names: see NAMES.
    "http://inside.test:{port}/",
    "http://mixed.test:{port}/",
    "http://six.test:{port}/",
    "http://metadata.test/",
]
REDIRECTS = [
    "//127.0.0.2:{port}/",
    "/\\127.0.0.2:{port}/",
    "http:127.0.0.2:{port}/",
    "data:audio/wav;base64,AAAA",
    "javascript:alert(1)",
    "HTTP://127.0.0.2:{port}/",
    "http://127.0.0.1:{port}@127.0.0.2:{port}/",
    *(url for url in DIRECT if "localhost" not in url.lower()),
]
NAMES = {
    "inside.test": ["127.0.0.2"],
    "mixed.test": ["127.0.0.1", "127.0.0.2"],
    "six.test": ["::ffff:127.0.0.2"],
    "metadata.test": ["169.254.169.254"],
}
REDIRECTOR = Allowlist.parse(["127.0.0.1/32"])


@pytest_asyncio.fixture
async def inside() -> AsyncIterator[WebServer]:
    async with web_server(always(b"what nobody may read"), host="127.0.0.2") as server:
        yield server
    assert server.connections == 0


async def resolve(host: str, port: int) -> list[str]:
    if host not in NAMES:
        raise OSError("there is no such name")
    return NAMES[host]


async def fetch(folder: Path, url: str, allow: Allowlist) -> FetchedFile[BoundedFile]:
    open_file = partial(BoundedFile, folder, max_bytes=1 << 20)
    return await fetch_url(url, open_file, allow=allow, max_bytes=1 << 20, timeout_s=30, resume=False, resolve=resolve)


@pytest.mark.parametrize("url", DIRECT)
async def test_a_hostile_url_reaches_nothing(tmp_path: Path, inside: WebServer, url: str) -> None:
    with pytest.raises((ForbiddenUrl, InvalidOption)):
        await fetch(tmp_path, url.format(port=inside.port), Allowlist())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("location", REDIRECTS)
async def test_a_hostile_redirect_reaches_nothing(tmp_path: Path, inside: WebServer, location: str) -> None:
    target = location.format(port=inside.port)
    # What a header cannot hold as it is comes as UTF-8.
    header = target.replace("\r\n", " ").encode().decode("latin-1")
    async with web_server(always(status=302, location=header)) as server:
        with pytest.raises((ForbiddenUrl, InvalidOption, UrlUnreachable)):
            await fetch(tmp_path, server.url, REDIRECTOR)
    assert not list(tmp_path.iterdir())


async def test_the_same_server_is_reached_where_the_list_has_it(tmp_path: Path) -> None:
    async with web_server(always(b"for everyone"), host="127.0.0.2") as server:
        async with web_server(always(status=302, location=f"{server.url}/a")) as redirector:
            for url in (server.url, redirector.url, f"http://inside.test:{server.port}/"):
                fetched = await fetch(tmp_path, url, Allowlist.parse(["127.0.0.1", "127.0.0.2"]))
                assert fetched.file.path.read_bytes() == b"for everyone"
                fetched.file.close()
        fetched = await fetch(tmp_path, f"http://inside.test:{server.port}/", Allowlist.parse(["*.test"]))
        fetched.file.close()
