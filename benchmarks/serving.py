"""Servers under load: how each is started, what is sent to it, and what is told of it."""

import os
import resource
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from auricle.cli.child_server import child_server
from benchmarks.bench import Bench
from benchmarks.figures import word_error_rate
from benchmarks.loadgen import Answer, Caller, Script, Traffic, run_script
from benchmarks.processes import cpu_seconds
from benchmarks.recordings import Recording
from benchmarks.subjects import HTTP, ModelSetup

OPENVINO = "auricle openvino over HTTP"
AUTO = ", audio_context=auto"
LOCK, LOCK_BATCHED = "one-lock", "one-lock batched"
OURS, PEERS = (HTTP, OPENVINO), (LOCK, LOCK_BATCHED)
FRESH = {"cache-control": "no-store"}
"""Neither answered from the cache, nor joined with a request that runs."""

_ENGINES = {HTTP: "ct2", OPENVINO: "openvino"}
_MINUTES = 12.0
_SETTLE_S = 0.5
_START_S = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """How much is sent; the defaults suit the base shape on two cores and a dozen minutes."""

    rounds: int = 2
    clips: int = 20
    """Of one round of C1."""
    clients: int = 8
    long_s: float = 120
    long_files: int = 4
    idle_clips: int = 8
    loaded_clips: int = 20
    limit_s: float = 36
    """Of C5, which a server that answers in order does not get done."""
    share_s: float = 24
    levels: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    least_clips: int = 8
    """Of a level."""
    lengths: tuple[float, ...] = (10, 30, 60, 120, 600)
    cached: int = 8
    flood: int = 200


def plan_load(minutes: float) -> LoadPlan:
    """The plan that takes about so long on the machine of the defaults; never more than these."""
    full = LoadPlan()
    scale = min(1.0, minutes / _MINUTES)

    def some(count: int, least: int) -> int:
        return max(least, round(count * scale))

    return replace(
        full,
        rounds=some(full.rounds, 1),
        clips=some(full.clips, full.clients),
        long_s=max(20.0, full.long_s * scale),
        idle_clips=some(full.idle_clips, 3),
        loaded_clips=some(full.loaded_clips, 5),
        limit_s=max(5.0, full.limit_s * scale),
        share_s=max(3.0, full.share_s * scale),
        levels=full.levels if scale > 0.3 else full.levels[::2],
        least_clips=some(full.least_clips, 3),
        lengths=tuple(seconds for seconds in full.lengths if seconds <= 30 + full.lengths[-1] * scale),
        cached=some(full.cached, 3),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A server that runs, and how it is asked."""

    name: str
    url: str
    pid: int
    fields: dict[str, str]

    def caller(self, name: str, files: Iterable[Recording], connections: int, **values: Any) -> Caller:
        """Somebody who sends ``files`` there."""
        paths = tuple(str(file.path) for file in files)
        base = Caller(name=name, files=paths, connections=connections, fields=self.fields, headers=FRESH)
        return replace(base, **values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What came of a script, and what it cost."""

    traffic: Traffic
    server_cpu_s: float
    foreign_cpu_share: float
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    """For the details of a result."""


@contextmanager
def open_ways(bench: Bench, names: Sequence[str], flags: Sequence[str] = ()) -> Generator[list[Way]]:
    """The servers of all ``names``, each started once and warmed up; those that are not installed are left out.

    A name is that of a server, with ``AUTO`` behind it for requests with short contexts. ``flags`` go to ours.
    """
    fields = {"model": "whisper-1", "response_format": "json", "beam_size": str(bench.plan.beams[0])}
    warm = [bench.record("speech", seconds, seed=999) for seconds in (4, bench.plan.clip_s, 6)]
    with ExitStack() as stack:
        servers: dict[str, tuple[str, int]] = {}
        ways: list[Way] = []
        for name in names:
            server = name.removesuffix(AUTO)
            if not _is_there(server):
                bench.report(f"{server} is not here and is left out")
                continue
            if server not in servers:
                servers[server] = stack.enter_context(_open(server, bench.setup, flags))
            url, pid = servers[server]
            own = fields | ({"audio_context": "auto"} if name.endswith(AUTO) else {})
            ways.append(Way(name=name, url=url, pid=pid, fields=own))
        for way in ways:
            check(run_script(Script(url=way.url, callers=(way.caller("warm", warm, 2),))))
        yield ways


def send(
    bench: Bench, measure: str, way: Way, callers: Iterable[Caller], files: Sequence[Recording] = (), **script: Any
) -> Load:
    """Put the server through a script, after the machine has settled; ``files`` are those whose texts are known."""
    time.sleep(_SETTLE_S)
    before, start, children = cpu_seconds(way.pid), time.perf_counter(), _children_s()
    traffic = run_script(Script(url=way.url, callers=tuple(callers), **script))
    wall, used = time.perf_counter() - start, cpu_seconds(way.pid).since(before)
    foreign = max(0.0, used.machine - used.tree - (_children_s() - children)) / (wall * (os.cpu_count() or 1))
    facts: dict[str, Any] = {
        "requests": len(traffic.answers),
        "wall_s": round(traffic.wall_s, 3),
        "server_cpu_s": round(used.tree, 2),
        "generator_cpu_s": round(traffic.generator_cpu_s, 2),
        "foreign_cpu_share": round(foreign, 3),
    }
    if texts := {str(file.path): file.text for file in files}:
        heard = [answer for answer in traffic.answers if answer.status == 200 and texts.get(answer.file)]
        said = " ".join(texts[answer.file] for answer in heard)
        facts["wer"] = round(word_error_rate(said, " ".join(answer.text for answer in heard)), 4) if heard else None
    bench.report(f"{measure:6} {way.name:46} {' '.join(f'{name} {value}' for name, value in facts.items())}")
    return Load(traffic=traffic, server_cpu_s=used.tree, foreign_cpu_share=foreign, facts=facts)


def check(traffic: Traffic) -> Traffic:
    """Raises RuntimeError where a request was refused or has failed; one that was given up is neither."""
    for answer in traffic.answers:
        if answer.status not in (0, 200):
            raise RuntimeError(f"{answer.file} was answered with {answer.status}: {answer.text}")
    return traffic


def percentile(values: Iterable[float], share: float) -> float:
    """The least value that ``share`` of them do not exceed. Raises ValueError where there are none."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("nothing was measured")
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def latencies(answers: Iterable[Answer]) -> dict[str, float]:
    """Median and 95th percentile in seconds."""
    taken = [answer.seconds for answer in answers]
    return {"p50_s": round(percentile(taken, 0.5), 4), "p95_s": round(percentile(taken, 0.95), 4)}


def _is_there(server: str) -> bool:
    return (
        find_spec("benchmarks.peers" if server in PEERS else "openvino" if server == OPENVINO else "auricle")
        is not None
    )


@contextmanager
def _open(name: str, setup: ModelSetup, flags: Sequence[str]) -> Generator[tuple[str, int]]:
    if name in PEERS:
        from benchmarks.peers import open_peer  # pyright: ignore

        with open_peer(name, setup) as peer:
            yield peer.base_url, peer.pid
        return
    with TemporaryDirectory(prefix="auricle-bench-") as folder:
        own = [
            *("--model", str(setup.path), "--threads", str(setup.threads), "--compute-type", setup.compute_type),
            *("--engine", _ENGINES[name], "--data-dir", folder, *flags),
        ]
        with child_server(own, log=Path(folder) / "server.log", start_timeout_s=_START_S) as server:
            yield server.url, server.pid


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
