"""A server in a process of its own, for as long as a block runs."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from auricle.cli.settings_flags import ENV_PREFIX
from auricle.errors import EngineFailed

_HOST = "127.0.0.1"
_STOP_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildServer:
    """A server that is ready."""

    url: str
    api_key: str
    """As it was given."""
    pid: int
    ready_s: float
    """Seconds from the start of the process until it was ready."""


@contextmanager
def child_server(
    flags: Sequence[str], *, log: Path, start_timeout_s: float, api_key: str = ""
) -> Generator[ChildServer]:
    """Run ``auricle serve`` with ``flags`` on a free port of this machine, ready when the block begins.

    Requests with ``api_key`` get in whatever other keys it has; where that is empty, it has those of its settings.
    What it writes goes to ``log``. Raises EngineFailed where it is not ready in time. The process has ended when this
    returns.
    """
    port = _free_port()
    command = [sys.executable, "-m", "auricle", "serve", "--host", _HOST, "--port", str(port), *flags]
    environment = os.environ | ({f"{ENV_PREFIX}API_KEY": api_key} if api_key else {})
    with log.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment
        )
    url = f"http://{_HOST}:{port}"
    try:
        ready_s = _wait_until_ready(process, url, api_key, start_timeout_s)
        yield ChildServer(url=url, api_key=api_key, pid=process.pid, ready_s=ready_s)
    finally:
        _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, api_key: str, timeout_s: float) -> float:
    start = time.monotonic()
    while (elapsed := time.monotonic() - start) < timeout_s:
        if process.poll() is not None:
            raise EngineFailed(f"the server ended with exit code {process.returncode} before it was ready")
        if _is_ready(url, api_key):
            return elapsed
        time.sleep(0.05)
    raise EngineFailed(f"the server was not ready after {timeout_s:g} s")


def _is_ready(url: str, api_key: str) -> bool:
    """Raises EngineFailed where the server says that its model cannot be had."""
    try:
        answer = httpx.get(
            f"{url}/health/ready", timeout=5.0, trust_env=False, headers={"x-api-key": api_key} if api_key else {}
        )
    except httpx.TransportError:
        return False
    if answer.is_success:
        return True
    if problem := answer.json().get("error"):
        raise EngineFailed(f"the server cannot load its model: {problem}")
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return probe.getsockname()[1]
