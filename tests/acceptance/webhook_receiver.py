"""A receiver of webhooks that refuses half of what it gets; it also has the files that jobs fetch by their URL."""

import base64
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@dataclass(frozen=True, kw_only=True)
class Try:
    """One message as it came."""

    message_id: str
    is_genuine: bool
    body: dict[str, Any]
    status: int
    """What it was answered with."""


class Receiver:
    """Each try is refused by chance, one in two, but no message more than ``most_refusals`` times: the pause after
    each is twice as long. ``files`` gives what lies at ``/audio/{number}``."""

    def __init__(self, *, most_refusals: int, files: Callable[[int], bytes]) -> None:
        self.tries: list[Try] = []
        self.url = ""
        self.files = files
        self._most = most_refusals
        self._refused: Counter[str] = Counter()
        self._chance = random.Random(5)
        self._lock = threading.Lock()
        self._webhook = Webhook(SECRET)

    def taken(self) -> set[str]:
        """Jobs whose message was taken."""
        with self._lock:
            return {one.body["data"]["id"] for one in self.tries if one.status < 300}

    def receive(self, headers: dict[str, str], content: bytes) -> int:
        """The status of the answer."""
        try:
            self._webhook.verify(content, headers)
            is_genuine = True
        except WebhookVerificationError:
            is_genuine = False
        message_id = headers.get("webhook-id", "")
        with self._lock:
            is_refused = self._chance.random() < 0.5 and self._refused[message_id] < self._most
            self._refused[message_id] += is_refused
            status = 500 if is_refused else 200
            body = json.loads(content)
            self.tries.append(Try(message_id=message_id, is_genuine=is_genuine, body=body, status=status))
        return status


@contextmanager
def webhook_receiver(*, most_refusals: int, files: Callable[[int], bytes]) -> Iterator[Receiver]:
    """Listens at ``url``/hook for as long as the block runs."""
    receiver = Receiver(most_refusals=most_refusals, files=files)

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(receiver.receive(headers, content))
            self.send_header("content-length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            content = receiver.files(int(self.path.rpartition("/")[2]))
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def handle(self) -> None:
            with suppress(ConnectionError):  # the server was killed while it was being answered
                super().handle()

        def log_request(self, code: object = "-", size: object = "-") -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
