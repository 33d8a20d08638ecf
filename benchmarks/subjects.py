"""Who is measured: each in processes of its own, behind one small protocol."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import httpx

from auricle.cli.child_server import child_server
from benchmarks.worker import DIRECT, OPENVINO, OTHER_ENGINES, Outcome, Task

HTTP = "auricle over HTTP"
HTTP_OPENVINO = "auricle openvino over HTTP"
ONE_LOCK = "one-lock"
ONE_LOCK_BATCHED = "one-lock batched"
OURS = (HTTP, DIRECT, HTTP_OPENVINO, OPENVINO)
PEERS_PYTHON = "AURICLE_BENCH_PEERS_PYTHON"
"""Variable with the Python interpreter that runs ``OTHER_ENGINES``; without it, this one does."""

_ENGINE_SECONDS = re.compile(r"^auricle_inference_seconds_sum (\S+)$", re.MULTILINE)
_START_S = 120.0
_LOG_SHOWN = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSetup:
    """What every subject is given, so that they differ in nothing else."""

    path: Path
    threads: int
    compute_type: str


class NotInstalled(RuntimeError):
    """A subject that this machine does not have."""


class Subject(Protocol):
    """A transcriber with its model loaded."""

    @property
    def name(self) -> str: ...
    @property
    def pid(self) -> int:
        """Root of its processes."""
        ...

    def transcribe(self, task: Task) -> Outcome: ...


@contextmanager
def open_subject(name: str, setup: ModelSetup) -> Generator[Subject]:
    """Started and ready; all its processes end with the block. Raises RuntimeError where it cannot start.

    Raises NotInstalled where a package of it is missing.
    """
    if name in (HTTP_OPENVINO, OPENVINO) and find_spec("openvino") is None:
        raise NotInstalled(f"{name} is not installed: no module 'openvino'")
    if name in (HTTP, HTTP_OPENVINO):
        with TemporaryDirectory(prefix="auricle-bench-") as folder:
            flags = [
                *("--model", str(setup.path), "--threads", str(setup.threads), "--compute-type", setup.compute_type),
                *("--engine", "openvino" if name == HTTP_OPENVINO else "ct2"),
                *("--data-dir", folder, "--cache-ttl-s", "0"),
            ]
            log = Path(folder) / "server.log"
            with child_server(flags, log=log, start_timeout_s=_START_S) as server, _client(server.url) as client:
                yield _HttpSubject(name, server.pid, client, log)
        return
    if name in (ONE_LOCK, ONE_LOCK_BATCHED):
        from benchmarks.peers import open_peer

        with open_peer(name, setup) as peer, _client(peer.base_url) as client:
            yield _PeerServerSubject(name, peer.pid, client)
        return
    python = os.environ.get(PEERS_PYTHON, sys.executable) if name in OTHER_ENGINES else sys.executable
    command = [python, "-m", "benchmarks.worker", name, str(setup.path), str(setup.threads), setup.compute_type]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    try:
        subject = _WorkerSubject(name, process)
        subject.wait_until_ready()
        yield subject
    finally:
        process.communicate()


def _client(base_url: str) -> httpx.Client:
    # The same file may come again; it shall be decoded again.
    return httpx.Client(base_url=base_url, headers={"cache-control": "no-store"}, timeout=None, trust_env=False)


class _WorkerSubject:
    def __init__(self, name: str, process: "subprocess.Popen[str]") -> None:
        self.name = name
        self.pid = process.pid
        self._process = process

    def wait_until_ready(self) -> None:
        if missing := json.loads(self._read()).get("not_installed"):
            raise NotInstalled(f"{self.name} is not installed: no module {missing!r}")

    def transcribe(self, task: Task) -> Outcome:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(task)) + "\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._read()))

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with exit code {self._process.wait()}; its error is above")
        return line


class _HttpSubject:
    def __init__(self, name: str, pid: int, client: httpx.Client, log: Path) -> None:
        self.name = name
        self.pid = pid
        self._log = log
        self._client = client

    def transcribe(self, task: Task) -> Outcome:
        """The time is that of the client: upload, transcription, answer."""
        form = {"model": "whisper-1", "beam_size": str(task.beam_size), "response_format": "verbose_json"}
        if task.language:
            form["language"] = task.language
        if task.words:
            form["timestamp_granularities[]"] = "word"
        busy = self._engine_seconds()
        with Path(task.path).open("rb") as file:
            start = time.perf_counter()
            answer = self._client.post("/v1/audio/transcriptions", data=form, files={"file": file})
            seconds = time.perf_counter() - start
        if answer.is_error:
            log = self._log.read_text(errors="replace")[-_LOG_SHOWN:]
            raise RuntimeError(f"the server answered {answer.status_code}: {answer.text}; its log ends with:\n{log}")
        body = answer.json()
        return Outcome(
            seconds=seconds,
            text=body["text"],
            language=body["language"],
            engine_seconds=self._engine_seconds() - busy,
        )

    def _engine_seconds(self) -> float:
        found = _ENGINE_SECONDS.search(self._client.get("/metrics").raise_for_status().text)
        return float(found[1]) if found else 0.0


class _PeerServerSubject:
    def __init__(self, name: str, pid: int, client: httpx.Client) -> None:
        self.name = name
        self.pid = pid
        self._client = client

    def transcribe(self, task: Task) -> Outcome:
        """The time is that of the client, as for ours."""
        if task.words:
            raise ValueError(f"{self.name} gives no word timestamps")
        form = {"model": "whisper-1", "beam_size": str(task.beam_size), "response_format": "json"}
        if task.language:
            form["language"] = task.language
        with Path(task.path).open("rb") as file:
            start = time.perf_counter()
            answer = self._client.post("/v1/audio/transcriptions", data=form, files={"file": file})
            seconds = time.perf_counter() - start
        return Outcome(seconds=seconds, text=answer.raise_for_status().json()["text"])
