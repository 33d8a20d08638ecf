"""A small Hugging Face hub on 127.0.0.1: the endpoints that a snapshot download uses, with faults on demand."""

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass
class Hub:
    """What is served, what goes wrong, and what was asked for."""

    url: str = ""
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    commits: dict[str, str] = field(default_factory=dict)
    break_after: list[int] = field(default_factory=list)
    """Each entry breaks one download of model.bin after so many bytes."""
    broken: bool = False
    """Every file is answered with 403 once no entry of ``break_after`` is left."""
    ranges: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    hub: Hub


class Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.hub.requests.append(f"{self.command} {path}")
        api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(.+))?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if api:
            self.answer_api(api[1], api[2] or "revision", api[3] or "main")
        elif file:
            self.answer_file(file[1], file[2], file[3])
        else:
            self.refuse(404, "EntryNotFound")

    def answer_api(self, repo: str, kind: str, revision: str) -> None:
        hub = self.server.hub
        if repo not in hub.repos:
            self.refuse(404, "RepoNotFound")
        elif revision not in {"main", hub.commits[repo]}:
            self.refuse(404, "RevisionNotFound")
        elif kind == "tree":
            files = hub.repos[repo].items()
            self.answer_json([{"type": "file", "path": n, "size": len(b), "oid": oid(b)} for n, b in files])
        else:
            siblings = [{"rfilename": n, "size": len(b), "blobId": oid(b)} for n, b in hub.repos[repo].items()]
            self.answer_json({"id": repo, "sha": hub.commits[repo], "siblings": siblings})

    def answer_file(self, repo: str, commit: str, name: str) -> None:
        hub = self.server.hub
        body = hub.repos[repo][name]
        first = 0
        if self.command == "GET" and name == "model.bin":
            hub.ranges.append(self.headers.get("Range", ""))
            if hub.broken and not hub.break_after:
                self.refuse(403, "")
                return
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if match:
            first = int(match[1])
        self.send_response(206 if match else 200)
        self.send_header("ETag", f'"{oid(body)}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(body) - first))
        if match:
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if name == "model.bin" and hub.break_after:
            self.wfile.write(body[first : first + hub.break_after.pop(0)])
            self.close_connection = True
        else:
            self.wfile.write(body[first:])

    def answer_json(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def oid(body: bytes) -> str:
    return hashlib.sha1(body).hexdigest()


def serve() -> Server:
    """A running hub without repositories, on a free port."""
    server = Server(("127.0.0.1", 0), Endpoint)
    server.hub = Hub(url=f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server
