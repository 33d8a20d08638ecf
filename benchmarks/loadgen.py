"""The clients, in a process of their own: ``python -m benchmarks.loadgen < SCRIPT.json > TRAFFIC.json``.

One event loop, one task a client, HTTP/1.1 by hand: on few cores the clients must not take the server's time, and a
full client library takes some milliseconds a request. Reads a ``Script``, writes a ``Traffic``.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_ROUTE = "/v1/audio/transcriptions"
_BOUNDARY = "auricle-bench-6f1c2e9a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody with files to send."""

    name: str
    files: tuple[str, ...]
    connections: int
    """Requests in flight as long as there are files left; the next one starts when one is answered."""
    address: str = "127.0.0.1"
    """The client's; callers are told apart by it."""
    start_s: float = 0.0
    pause_s: float = 0.0
    """After each answer, on each connection."""
    fields: dict[str, str] = field(default_factory=dict[str, str])
    headers: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What a server is put through."""

    url: str
    callers: tuple[Caller, ...]
    until: str | None = None
    """The name of a caller: all end when that one has all its answers."""
    limit_s: float = 600.0
    """Then all end; what is in flight counts as given up."""
    health_s: float = 0.0
    """Seconds between calls of ``/health``; 0 makes none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one request."""

    caller: str
    file: str
    status: int
    """0 where it was given up; ``seconds`` is then how long it had waited."""
    start_s: float
    """Since the script's start."""
    seconds: float
    """From the first byte sent to the last one received."""
    server_ms: float | None = None
    """The server's own time, the upload included."""
    retry_after: str | None = None
    cache: str | None = None
    text: str = ""

    @property
    def end_s(self) -> float:
        return self.start_s + self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """All of a script's answers in the order they ended."""

    answers: tuple[Answer, ...]
    health_s: tuple[float, ...]
    """How long each call of ``/health`` took."""
    wall_s: float
    generator_cpu_s: float

    def of(self, caller: str) -> list[Answer]:
        """Those with a transcript."""
        return [answer for answer in self.answers if answer.caller == caller and answer.status == 200]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer as it came over the wire; the names of ``headers`` are in lower case."""

    status: int
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""


async def play(script: Script) -> Traffic:
    """Put a server through ``script``. Raises OSError (in a group) where it is not there."""
    used, start = time.process_time(), time.perf_counter()
    answers: list[Answer] = []
    health: list[float] = []
    tasks = {caller.name: asyncio.create_task(_call(script.url, caller, start, answers)) for caller in script.callers}
    watch = asyncio.create_task(_watch_health(script.url, script.health_s, health)) if script.health_s else None
    awaited = [tasks[script.until]] if script.until else list(tasks.values())
    done, _ = await asyncio.wait(awaited, timeout=script.limit_s, return_when=asyncio.ALL_COMPLETED)
    wall = time.perf_counter() - start
    others = [*tasks.values(), *([watch] if watch else [])]
    for task in others:
        task.cancel()
    for ended in await asyncio.gather(*others, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended
    return Traffic(
        answers=tuple(answers),
        health_s=tuple(health),
        wall_s=wall if len(done) == len(awaited) else script.limit_s,
        generator_cpu_s=time.process_time() - used,
    )


async def _call(url: str, caller: Caller, start: float, answers: list[Answer]) -> None:
    host, port = _address(url)
    # Made before the clock runs, so that the clients' own work does not count as the server's.
    requests = {file: encode_request(host, caller, file) for file in caller.files}
    await asyncio.sleep(max(0.0, caller.start_s - (time.perf_counter() - start)))
    files = deque(caller.files)

    async def connection() -> None:
        while files:
            file = files.popleft()
            began = time.perf_counter()
            note = partial(_note, answers, caller=caller.name, file=file, began=began, start=start)
            try:
                reply = await _exchange(host, port, requests[file], caller.address)
            except asyncio.CancelledError:
                note(Reply(status=0))
                raise
            note(reply)
            await asyncio.sleep(caller.pause_s)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(caller.connections, len(files))):
            group.create_task(connection())


def encode_request(host: str, caller: Caller, file: str) -> bytes:
    """The bytes of a form with one file, from the first line of HTTP on."""
    parts = [
        f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in caller.fields.items()
    ]
    parts.append(
        f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="{Path(file).name}"\r\n'
        "content-type: application/octet-stream\r\n\r\n"
    )
    body = "".join(parts).encode() + Path(file).read_bytes() + f"\r\n--{_BOUNDARY}--\r\n".encode()
    headers = {"content-type": f"multipart/form-data; boundary={_BOUNDARY}", "content-length": str(len(body))}
    return _head("POST", _ROUTE, host, headers | caller.headers) + body


async def _exchange(host: str, port: int, request: bytes, address: str = "127.0.0.1") -> Reply:
    """One request on a connection of its own. Raises OSError where nobody answers."""
    reader, writer = await asyncio.open_connection(host, port, local_addr=(address, 0))
    try:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        return Reply(status=int(status.split()[1]), headers=headers, body=body)
    finally:
        writer.close()


def _head(method: str, path: str, host: str, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or 80


def _note(answers: list[Answer], reply: Reply, *, caller: str, file: str, began: float, start: float) -> None:
    seconds = time.perf_counter() - began
    took = reply.headers.get("openai-processing-ms")
    answers.append(
        Answer(
            caller=caller,
            file=file,
            status=reply.status,
            start_s=began - start,
            seconds=seconds,
            server_ms=float(took) if took else None,
            retry_after=reply.headers.get("retry-after"),
            cache=reply.headers.get("x-auricle-cache"),
            text=json.loads(reply.body)["text"] if reply.status == 200 else reply.body.decode()[:300],
        )
    )


async def _watch_health(url: str, interval_s: float, took: list[float]) -> None:
    host, port = _address(url)
    while True:
        began = time.perf_counter()
        await _exchange(host, port, _head("GET", "/health", host, {}))
        took.append(time.perf_counter() - began)
        await asyncio.sleep(interval_s)


def run_script(script: Script) -> Traffic:
    """``play`` in a process of its own. Raises RuntimeError where that fails."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.loadgen"],
        input=json.dumps(asdict(script)),
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the load generator ended with exit code {done.returncode}; its error is above")
    return read_traffic(json.loads(done.stdout))


def read_script(document: dict[str, Any]) -> Script:
    """The reverse of ``asdict``."""
    callers = [Caller(**{**caller, "files": tuple(caller["files"])}) for caller in document["callers"]]
    return Script(**{**document, "callers": tuple(callers)})


def read_traffic(document: dict[str, Any]) -> Traffic:
    """The reverse of ``asdict``."""
    answers = tuple(Answer(**answer) for answer in document["answers"])
    return Traffic(**{**document, "answers": answers, "health_s": tuple(document["health_s"])})


def main() -> None:
    """See the module."""
    traffic = asyncio.run(play(read_script(json.load(sys.stdin))))
    json.dump(asdict(traffic), sys.stdout)


if __name__ == "__main__":
    main()
