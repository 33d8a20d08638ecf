"""A real server process with the embedded model."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

SAMPLES = Path(__file__).parents[1] / "audio" / "samples"
DIGITS = SAMPLES / "01_en_slt.wav"
GERMAN = SAMPLES / "04_de.wav"
MINUTE = SAMPLES / "08_en_60s.flac"
SILENCE = SAMPLES / "10_silence.wav"


@dataclass(frozen=True)
class LiveServer:
    url: str
    folder: Path
    """Its ``data_dir``."""
    process: subprocess.Popen[str]

    def uploads(self) -> list[Path]:
        """Bodies of requests that are still on its disk."""
        return list((self.folder / "uploads").iterdir())

    def health(self) -> dict:
        return httpx.get(f"{self.url}/health").json()

    def metric(self, name: str) -> float:
        """A value of ``/metrics``; 0 where it is not there yet."""
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)


def wait_until(condition: Callable[[], object], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@contextmanager
def live_server(
    folder: Path, *, wait_for_ready: bool = True, must_start: bool = True, **settings: object
) -> Iterator[LiveServer]:
    """A server on a free port, ready when the block begins, killed at the latest when it ends.

    Its log is ``server.log`` in ``folder``.
    """
    # Not "auto", which is another engine on another machine.
    own = {"model": "nano", "engine": "ct2", "port": 0, "data_dir": folder, "threads": 2, "offline": True}
    values = own | settings
    environment = os.environ | {f"AURICLE_{name.upper()}": str(value) for name, value in values.items()}
    log = folder / "server.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "auricle", "serve"], env=environment, stdout=subprocess.PIPE, stderr=file, text=True
        )
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        assert words or not must_start, log.read_text()
        live = LiveServer(url=words[-1] if words else "", folder=folder, process=process)
        if wait_for_ready:
            wait_until(lambda: live.health()["ready"])
        yield live
    finally:
        process.kill()
        process.communicate()
