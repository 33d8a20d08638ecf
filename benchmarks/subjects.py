"""Who is measured: each in processes of its own, behind one small protocol."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import httpx

from auricle.cli.child_server import ChildServer, child_server
from benchmarks.worker import Outcome, Task

HTTP = "auricle over HTTP"

_ENGINE_SECONDS = re.compile(r"^auricle_inference_seconds_sum (\S+)$", re.MULTILINE)
_START_S = 120.0
_LOG_SHOWN = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSetup:
    """What every subject is given, so that they differ in nothing else."""

    path: Path
    threads: int
    compute_type: str


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
    """Started and ready; all its processes end with the block. Raises RuntimeError where it cannot start."""
    if name == HTTP:
        with TemporaryDirectory(prefix="auricle-bench-") as folder:
            flags = [
                *("--model", str(setup.path), "--threads", str(setup.threads), "--compute-type", setup.compute_type),
                *("--data-dir", folder),
            ]
            log = Path(folder) / "server.log"
            with child_server(flags, log=log, start_timeout_s=_START_S) as server:
                yield _HttpSubject(server, log)
        return
    command = [sys.executable, "-m", "benchmarks.worker", name, str(setup.path), str(setup.threads), setup.compute_type]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    try:
        subject = _WorkerSubject(name, process)
        subject.wait_until_ready()
        yield subject
    finally:
        process.communicate()


class _WorkerSubject:
    def __init__(self, name: str, process: "subprocess.Popen[str]") -> None:
        self.name = name
        self.pid = process.pid
        self._process = process

    def wait_until_ready(self) -> None:
        self._read()

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
    name = HTTP

    def __init__(self, server: ChildServer, log: Path) -> None:
        self.pid = server.pid
        self._log = log
        # The same file may come again; it shall be decoded again.
        headers = {"cache-control": "no-cache"}
        self._client = httpx.Client(base_url=server.url, headers=headers, timeout=None, trust_env=False)

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
