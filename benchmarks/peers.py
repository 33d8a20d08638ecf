"""A transcription server as most are: one faster-whisper model behind a lock.

``python -m benchmarks.peers one-lock MODEL --port 0`` loads the model, writes one JSON line with its port, and serves
``POST /v1/audio/transcriptions`` until it is told to stop. Audio is decoded before the lock is taken, the peer's best
case; the model then works for one request at a time.
"""

import argparse
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, File, Form, UploadFile

from benchmarks.machine import count_cores
from benchmarks.subjects import ONE_LOCK, ONE_LOCK_BATCHED, ModelSetup

PEERS = (ONE_LOCK, ONE_LOCK_BATCHED)
_HOST = "127.0.0.1"
_BATCH_SIZE = 8
_BACKLOG = 2048
_STOP_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A server that is ready."""

    name: str
    base_url: str
    pid: int


@contextmanager
def open_peer(name: str, setup: ModelSetup, *, beam_size: int = 5) -> Generator[Peer]:
    """One of ``PEERS`` in a process of its own, loaded; it has ended when the block is left.

    ``beam_size`` is that of requests which name none. Raises ValueError for an unknown name, RuntimeError where it does
    not start.
    """
    if name not in PEERS:
        raise ValueError(f"there is no peer {name!r}; there are {', '.join(PEERS)}")
    command = [
        *(sys.executable, "-m", "benchmarks.peers", name, str(setup.path), "--port", "0"),
        *("--threads", str(setup.threads), "--compute-type", setup.compute_type, "--beam-size", str(beam_size)),
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{name} ended with exit code {process.wait()}; its error is above")
        yield Peer(name=name, base_url=f"http://{_HOST}:{json.loads(line)['port']}", pid=process.pid)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)  # requests that nobody waits for any more are not finished
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()


def build_app(name: str, model: Path, *, threads: int, compute_type: str, beam_size: int) -> FastAPI:
    """Load the model and return its server. The options are those of the same peer in ``benchmarks.worker``."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel
    from faster_whisper.audio import decode_audio

    peer = WhisperModel(str(model), device="cpu", compute_type=compute_type, cpu_threads=threads)
    options: dict[str, Any] = {"vad_filter": True, "condition_on_previous_text": False}
    run: Any = peer.transcribe
    if name == ONE_LOCK_BATCHED:
        options = {"batch_size": _BATCH_SIZE}
        run = BatchedInferencePipeline(peer).transcribe
    lock = threading.Lock()
    default_beam = beam_size
    app = FastAPI()

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    # Not async: the framework calls it in a thread of its pool, so that other requests are taken in meanwhile.
    @app.post("/v1/audio/transcriptions")
    def transcribe(
        file: Annotated[UploadFile, File()],
        language: Annotated[str | None, Form()] = None,
        beam_size: Annotated[int, Form()] = default_beam,
    ) -> dict[str, str]:
        samples = decode_audio(file.file)
        with lock:
            segments, _ = run(samples, language=language, beam_size=beam_size, **options)
            texts = [segment.text for segment in segments]  # they are decoded while this reads them
        return {"text": "".join(texts).strip()}

    return app


def main() -> None:
    """Run from the command line until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("model", type=Path, help="CTranslate2 folder")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--threads", type=int, default=count_cores())
    parser.add_argument("--compute-type", default="int8")
    parser.add_argument("--beam-size", type=int, default=5, help="of requests that name none")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # while it loads; the server has its own
    app = build_app(
        args.name, args.model, threads=args.threads, compute_type=args.compute_type, beam_size=args.beam_size
    )
    with socket.create_server((_HOST, args.port), backlog=_BACKLOG) as listener:
        print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, backlog=_BACKLOG))
        server.run(sockets=[listener])


if __name__ == "__main__":
    main()
