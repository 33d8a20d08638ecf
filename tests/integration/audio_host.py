"""A web server of the test's own: has audio behind URLs, and takes webhooks."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from live_server import SAMPLES


@dataclass
class AudioHost:
    url: str
    messages: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    """Headers, in small letters, and body of each webhook message."""
    fail_next: int = 0
    """So many messages are answered with 500."""
    released: threading.Event = field(default_factory=threading.Event)
    """Files below ``/slow/`` are answered when it is set."""

    def file(self, path: Path) -> str:
        return f"{self.url}/{path.name}"

    @property
    def astray(self) -> str:
        """Leads to a place that must not be reached."""
        return f"{self.url}/away"

    def slow_file(self, path: Path) -> str:
        return f"{self.url}/slow/{path.name}"


@contextmanager
def audio_host(folder: Path = SAMPLES) -> Iterator[AudioHost]:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/away":
                self._answer(302, location="http://169.254.169.254/latest/meta-data")
                return
            path = folder / self.path.partition("?")[0].rpartition("/")[2]
            if self.path.startswith("/slow/"):
                host.released.wait(60)
            self._answer(200, path.read_bytes()) if path.is_file() else self._answer(404)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            host.messages.append(({name.lower(): value for name, value in self.headers.items()}, body))
            if host.fail_next:
                host.fail_next -= 1
                self._answer(500)
            else:
                self._answer(204)

        def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            try:
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
            except ConnectionError:
                pass  # whoever asked has left

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    host = AudioHost(url=f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield host
    finally:
        host.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
