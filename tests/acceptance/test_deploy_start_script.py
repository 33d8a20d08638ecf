"""deploy/start.sh as its users run it: a real server in the background."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "start.sh"
NOT_RUNNING = 3

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a shell script")


def is_alive(pid: int) -> bool:
    """A process that has ended stays until its parent asks for its status, which is not the script's affair."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Script:
    def __init__(self, state: Path, port: int) -> None:
        self.state = state
        self.url = f"http://127.0.0.1:{port}"
        self._environment = os.environ | {
            # The environment of the tests is that of the service: nothing is to be installed.
            "VENV": sys.prefix,
            "STATE_DIR": str(state),
            "SETTINGS": str(state / "none.env"),
            "AURICLE_PORT": str(port),
            "AURICLE_MODEL": "nano",
            "AURICLE_DATA_DIR": str(state),
        }

    def run(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SCRIPT, command],
            env=self._environment | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    @property
    def pid(self) -> int:
        return int((self.state / "auricle.pid").read_text())


@pytest.fixture
def script(tmp_path: Path, unused_tcp_port: int) -> Iterator[Script]:
    made = Script(tmp_path, unused_tcp_port)
    yield made
    made.run("stop", STOP_TIMEOUT_S="10")


def test_it_starts_tells_restarts_and_stops_a_server(script: Script) -> None:
    assert script.run("status").returncode == NOT_RUNNING
    started = script.run("start")
    assert started.returncode == 0, started.stderr
    assert script.url in started.stdout
    first = script.pid
    assert httpx.get(f"{script.url}/health/live").json() == {"status": "ok"}

    again = script.run("start")
    assert (again.returncode, script.pid) == (0, first)
    assert "runs already" in again.stdout
    status = script.run("status")
    assert status.returncode == 0
    assert str(first) in status.stdout

    restarted = script.run("restart")
    assert restarted.returncode == 0, restarted.stderr
    assert script.pid != first
    assert not is_alive(first)

    second = script.pid
    assert script.run("stop").returncode == 0
    assert not is_alive(second)
    assert script.run("stop").returncode == 0
    assert script.run("status").returncode == NOT_RUNNING


def test_a_server_that_was_killed_is_not_taken_for_one_that_runs(script: Script) -> None:
    assert script.run("start").returncode == 0
    os.kill(script.pid, signal.SIGKILL)
    while is_alive(script.pid):
        time.sleep(0.01)
    assert script.run("status").returncode == NOT_RUNNING
    # Its pid may belong to any program by now.
    (script.state / "auricle.pid").write_text(f"{os.getpid()}\n")
    assert script.run("stop").returncode == 0
    assert script.run("start").returncode == 0


def test_a_server_that_cannot_start_says_why(script: Script) -> None:
    failed = script.run("start", AURICLE_ENGINE="steam")
    assert failed.returncode == 1
    assert "steam" in failed.stderr
    assert not (script.state / "auricle.pid").exists()


def test_setup_leaves_what_is_set_up_alone_and_says_what_is_missing(script: Script, tmp_path: Path) -> None:
    failed = script.run("setup", PYTHON="no-such-python")
    assert failed.returncode == 1
    assert "no-such-python" in failed.stderr
    missing = script.run("start", VENV=str(tmp_path / "empty"))
    assert missing.returncode == 1
    assert "setup" in missing.stderr


@pytest.mark.parametrize("command", ["", "halt"])
def test_an_unknown_command_is_refused(script: Script, command: str) -> None:
    refused = script.run(command)
    assert refused.returncode == 2
    assert "setup|start|stop|restart|status" in refused.stderr


def test_settings_come_from_a_file(script: Script) -> None:
    file = script.state / "auricle.env"
    file.write_text("AURICLE_ENGINE='from the file'\n")
    failed = script.run("start", SETTINGS=str(file))
    assert failed.returncode == 1
    assert "from the file" in failed.stderr
