"""A job that tells a webhook of its end: python examples/job_with_webhook.py talk.mp3

The receiver here runs on the same machine, so the server must allow it: AURICLE_URL_ALLOWLIST=127.0.0.1
"""

import base64
import json
import os
import secrets
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
from standardwebhooks import Webhook

URL = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
SECRET = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


class Receiver(BaseHTTPRequestHandler):
    """Checks and prints messages."""

    def do_POST(self) -> None:
        """Called for each message."""
        body = self.rfile.read(int(self.headers["content-length"]))
        message = Webhook(SECRET).verify(body, {name.lower(): value for name, value in self.headers.items()})
        self.send_response(204)
        self.end_headers()
        print(json.dumps(message["data"]["result"]))

    def log_message(self, *args: object) -> None:
        """Write no log."""


path = Path(sys.argv[1])
with HTTPServer(("127.0.0.1", 0), Receiver) as receiver:
    webhook = {"url": f"http://127.0.0.1:{receiver.server_port}/", "secret": SECRET}
    answer = httpx.post(
        f"{URL}/jobs",
        files={"file": (path.name, path.read_bytes())},
        data={"webhook": json.dumps(webhook)},
        timeout=60,
    )
    answer.raise_for_status()
    receiver.handle_request()
