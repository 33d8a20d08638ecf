"""The whole server on the device, asked by real clients: G1 to G6 over HTTP."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from auricle.cli.child_server import child_server
from benchmarks.loadgen import Caller, Script, Traffic, run_script
from benchmarks.recordings import Recording
from benchmarks.serving import FRESH, check, latencies

_START_S = 300.0


@contextmanager
def open_server(model: Path, *, device: str, compute_type: str) -> Generator[str]:
    """A server of the PyTorch engine, by its URL."""
    flags = ["--model", str(model), "--engine", "torch", "--device", device, "--compute-type", compute_type]
    flags += ["--max-queued-audio-s", "0"]
    with (
        TemporaryDirectory(prefix="auricle-bench-") as folder,
        child_server([*flags, "--data-dir", folder], log=Path(folder) / "log", start_timeout_s=_START_S) as server,
    ):
        yield server.url


def measure_throughput(url: str, files: Sequence[Recording], clients: int, *, words: bool = False) -> dict[str, Any]:
    """``files`` through ``clients`` requests at once: RTFx, requests a second, latencies."""
    traffic = _send(url, (_caller("all", files, clients, words=words),))
    seconds = sum(file.seconds for file in files)
    return {
        "clients": clients,
        "requests": len(files),
        "audio_s": round(seconds),
        "wall_s": round(traffic.wall_s, 3),
        "rtfx": round(seconds / traffic.wall_s, 1),
        "requests_per_s": round(len(files) / traffic.wall_s, 2),
        **latencies(traffic.of("all")),
    }


def measure_latency(url: str, clip: Recording, background: Sequence[Recording], clips: int) -> dict[str, Any]:
    """One clip after the other on an idle server, then beside one request for each of the ``background`` files."""
    idle = _send(url, (_caller("clip", [clip] * clips, 1),))
    one = replace(_caller("clip", [clip] * clips, 1), start_s=1.0)
    loaded = _send(url, (_caller("files", background, len(background)), one), until="clip")
    return {"idle": latencies(idle.of("clip")), "loaded": latencies(loaded.of("clip")), "beside": len(background)}


def _caller(name: str, files: Sequence[Recording], connections: int, *, words: bool = False) -> Caller:
    fields = {"model": "whisper-1", "response_format": "json", "beam_size": "1", "language": "en"}
    if words:
        fields |= {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    paths = tuple(str(file.path) for file in files)
    return Caller(name=name, files=paths, connections=connections, fields=fields, headers=FRESH)


def _send(url: str, callers: tuple[Caller, ...], **script: Any) -> Traffic:
    return check(run_script(Script(url=url, callers=callers, **script)))
