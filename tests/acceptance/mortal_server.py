"""Servers that work on the same data, one after the other, each until it is killed."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from tests.integration.live_server import LiveServer, live_server


class MortalServer:
    """``url`` leads to the server that lives now; while there is none, nobody answers there."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.data = folder / "data"
        self.lives = 0
        self.url = "http://127.0.0.1:9"
        self._folder = folder
        self._settings = settings
        self._stack = ExitStack()
        self._server: LiveServer | None = None
        # One connection: what is asked all the time must cost the server little.
        self._http = httpx.Client(timeout=60, trust_env=False)

    def get(self, path: str, **query: Any) -> Any:
        """JSON of the server; an error of HTTP is raised."""
        return self._http.get(self.url + path, params=query).raise_for_status().json()

    def jobs(self, **query: Any) -> list[dict[str, Any]]:
        """All pages of the list."""
        found: list[dict[str, Any]] = []
        after: dict[str, str] = {}
        while True:
            page = self.get("/v1/jobs", limit=100, **query, **after)
            found += page["data"]
            if not page["has_more"]:
                return found
            after = {"after": page["last_id"]}

    def metric(self, name: str) -> int:
        """A value of ``/metrics``; 0 where it is not there yet."""
        lines = self._http.get(f"{self.url}/metrics").raise_for_status().text.splitlines()
        return int(next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0))

    def start(self) -> None:
        """Have a server that is ready."""
        self.lives += 1
        folder = self._folder / f"life-{self.lives}"
        folder.mkdir(parents=True)
        self._server = self._stack.enter_context(live_server(folder, data_dir=self.data, **self._settings))
        self.url = self._server.url

    def kill(self) -> None:
        """kill -9; nothing of it stays behind, its engines neither."""
        assert self._server is not None
        process = self._server.process
        engines = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        self.url, self._server = "http://127.0.0.1:9", None
        _, left = psutil.wait_procs(engines, timeout=20)
        assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []
        self._stack.close()

    def stop(self) -> None:
        """Let go of what still lives."""
        self._http.close()
        self._stack.close()


@contextmanager
def mortal_server(folder: Path, **settings: Any) -> Iterator[MortalServer]:
    """A server that can be killed and started again."""
    server = MortalServer(folder, **settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()
