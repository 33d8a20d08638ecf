"""A small HTTP server on the loopback network that answers however a test wants, also in ways no server should."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Asked:
    """One request; names of headers in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class WebServer:
    url: str
    port: int
    requests: list[Asked] = field(default_factory=list)
    connections: int = 0


Answer = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def web_server(answer: Answer, *, host: str = "127.0.0.1") -> AsyncIterator[WebServer]:
    """One request a connection; whatever ``answer`` leaves open is closed behind it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        try:
            asked = await _read_request(reader)
            server.requests.append(asked)
            await answer(asked, writer)
            await writer.drain()
        # Whoever asked has left, or the test is over.
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    tasks: set[asyncio.Task[None]] = set()
    listening = await asyncio.start_server(serve, host, 0)
    port = listening.sockets[0].getsockname()[1]
    server = WebServer(url=f"http://{host}:{port}", port=port)
    try:
        yield server
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def reply(writer: asyncio.StreamWriter, body: bytes = b"", *, status: int = 200, **headers: str) -> None:
    """Write a whole answer; names of headers with ``_`` for ``-``."""
    begin(writer, status=status, **({"content_length": str(len(body))} | headers))
    writer.write(body)


def begin(writer: asyncio.StreamWriter, *, status: int = 200, **headers: str) -> None:
    """Write the head of an answer only."""
    lines = [f"HTTP/1.1 {status} X", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join([*lines, "connection: close", "", ""]).encode("latin-1"))


def always(body: bytes = b"", *, status: int = 200, **headers: str) -> Answer:
    """The same answer to every request."""

    async def answer(_: Asked, writer: asyncio.StreamWriter) -> None:
        reply(writer, body, status=status, **headers)

    return answer


async def _read_request(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, path, headers, body)
