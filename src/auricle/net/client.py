"""An HTTP client for addresses that strangers name.

The check sits where sockets are opened: a host is looked up once, every address that comes back is checked, and the
connection goes to one of these very addresses. So neither a redirect nor a name that changes its address between the
check and the connection (DNS rebinding) leads inside. The host's name stays in the Host header and in TLS.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import ip_address
from ssl import SSLContext
from typing import cast

import httpcore2
import httpx2

from auricle.net.addresses import Allowlist, check_address

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host name and port -> all of its addresses; raises OSError."""

CONNECT_S = 10.0
"""For the look-up, for each try to connect, and for TLS."""
_MAX_ADDRESSES = 4
"""Addresses of a host that are tried."""
_MIN_LOOKUPS = 4
"""Look-ups at once; each takes a thread for as long as the name's servers please."""


def guarded_client(
    allow: Allowlist, *, timeout_s: float, max_connections: int = 1, resolve: Resolve | None = None
) -> httpx2.AsyncClient:
    """A client whose connections go to addresses of the public internet and of ``allow`` only.

    ``timeout_s`` is how long the other side may be silent; the whole of a request has no limit here. It follows no
    redirects, uses no proxy of the environment, keeps no cookies and asks for bodies that are not compressed. Raises
    ForbiddenUrl where a host must not be reached, and the errors of httpx2. ``resolve`` takes the place of DNS.
    """
    return httpx2.AsyncClient(
        transport=_Transport(_CheckedBackend(allow, resolve, max_connections), max_connections),
        timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, CONNECT_S)),
        headers={"accept": "*/*", "accept-encoding": "identity", "user-agent": "auricle"},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        follow_redirects=False,
        trust_env=False,
    )


class _CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Opens sockets to checked addresses."""

    def __init__(self, allow: Allowlist, resolve: Resolve | None, max_connections: int) -> None:
        self._allow = allow
        self._threads = ThreadPoolExecutor(max(_MIN_LOOKUPS, max_connections), thread_name_prefix="auricle-dns")
        self._resolve = resolve or self._look_up
        # The package declares a stand-in for where anyio is missing.
        self._sockets = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the signature of httpcore2
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        error: httpcore2.ConnectError | httpcore2.ConnectTimeout = httpcore2.ConnectError("the host has no address")
        for address in await self._checked_addresses(host, port, timeout):
            try:
                return await self._sockets.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as exc:
                error = exc
        raise error

    async def sleep(self, seconds: float) -> None:
        await self._sockets.sleep(seconds)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _checked_addresses(self, host: str, port: int, timeout_s: float | None) -> Sequence[str]:
        try:
            async with asyncio.timeout(timeout_s):
                addresses = [host] if _is_address(host) else await self._resolve(host, port)
        except TimeoutError as exc:
            raise httpcore2.ConnectTimeout("the name of the host could not be looked up in time") from exc
        # A name that is too long, or has an empty part, is a UnicodeError.
        except (OSError, UnicodeError) as exc:
            raise httpcore2.ConnectError(f"the name of the host cannot be looked up ({exc})") from exc
        for address in addresses:
            check_address(address, host, self._allow)
        return addresses[:_MAX_ADDRESSES]

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        # Not in the loop's own threads: names whose servers never answer would take them all.
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _Transport(httpx2.AsyncBaseTransport):
    """httpx2 over a pool of httpcore2 with a backend of our own, which httpx2's transport has no parameter for."""

    def __init__(self, backend: _CheckedBackend, max_connections: int) -> None:
        self._backend = backend
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=_ssl_context(), max_connections=max_connections, network_backend=backend, keepalive_expiry=5.0
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        inner = httpcore2.Request(
            request.method,
            httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _as_httpx2_errors():
            response = await self._pool.handle_async_request(inner)
        return httpx2.Response(response.status, headers=response.headers, stream=_Body(response))

    async def aclose(self) -> None:
        self._backend.close()
        await self._pool.aclose()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx2_errors():
            async for chunk in self._response.aiter_stream():
                yield chunk

    async def aclose(self) -> None:
        await self._response.aclose()


@contextmanager
def _as_httpx2_errors() -> Generator[None]:
    # Both packages give their errors the same names.
    try:
        yield
    except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError) as exc:
        kind: type[httpx2.TransportError] = getattr(httpx2, type(exc).__name__)
        raise kind(str(exc)) from exc


@lru_cache(maxsize=1)
def _ssl_context() -> SSLContext:
    # Reading the system's certificates takes long.
    return httpx2.create_ssl_context()


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
