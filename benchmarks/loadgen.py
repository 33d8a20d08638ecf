"""The clients, in a process of their own: ``python -m benchmarks.loadgen < SCRIPT.json > TRAFFIC.json``.

One event loop with one task a connection, so that hundreds of clients take a few percent of one core. Reads a
``Script``, writes a ``Traffic``.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

_ROUTE = "/v1/audio/transcriptions"


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


async def play(script: Script) -> Traffic:
    """Put a server through ``script``. Raises httpx.TransportError where it is not there."""
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
    bodies = {file: Path(file).read_bytes() for file in caller.files}  # not while others are being timed
    await asyncio.sleep(max(0.0, caller.start_s - (time.perf_counter() - start)))
    files = deque(caller.files)
    transport = httpx.AsyncHTTPTransport(
        local_address=caller.address, limits=httpx.Limits(max_connections=None, max_keepalive_connections=None)
    )
    async with httpx.AsyncClient(base_url=url, headers=caller.headers, transport=transport, timeout=None) as client:

        async def connection() -> None:
            while files:
                file = files.popleft()
                answers.append(await _ask(client, caller, file, bodies[file], start))
                await asyncio.sleep(caller.pause_s)

        await _all_or_none([connection() for _ in range(min(caller.connections, len(files)))], answers)


async def _all_or_none(connections: Sequence[Any], answers: list[Answer]) -> None:
    async with asyncio.TaskGroup() as group:
        for one in connections:
            group.create_task(one)


async def _ask(client: httpx.AsyncClient, caller: Caller, file: str, body: bytes, start: float) -> Answer:
    began = time.perf_counter()

    def answer(status: int, **values: Any) -> Answer:
        seconds = time.perf_counter() - began
        return Answer(
            caller=caller.name, file=file, status=status, start_s=began - start, seconds=seconds, **values
        )

    try:
        got = await client.post(_ROUTE, data=caller.fields, files={"file": (Path(file).name, body)})
    except asyncio.CancelledError:
        return answer(0)
    took = got.headers.get("openai-processing-ms")
    return answer(
        got.status_code,
        server_ms=float(took) if took else None,
        retry_after=got.headers.get("retry-after"),
        cache=got.headers.get("x-auricle-cache"),
        text=got.json().get("text", "") if got.status_code == 200 else got.text[:300],
    )


async def _watch_health(url: str, interval_s: float, took: list[float]) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=None, trust_env=False) as client:
        while True:
            began = time.perf_counter()
            (await client.get("/health")).raise_for_status()
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
    callers = tuple(Caller(**(caller | {"files": tuple(caller["files"])})) for caller in document["callers"])
    return Script(**(document | {"callers": callers}))


def read_traffic(document: dict[str, Any]) -> Traffic:
    """The reverse of ``asdict``."""
    answers = tuple(Answer(**answer) for answer in document["answers"])
    return Traffic(**(document | {"answers": answers, "health_s": tuple(document["health_s"])}))


def main() -> None:
    """See the module."""
    traffic = asyncio.run(play(read_script(json.load(sys.stdin))))
    json.dump(asdict(traffic), sys.stdout)


if __name__ == "__main__":
    main()
