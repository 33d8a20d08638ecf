"""Measure Auricle against its peers: ``python -m benchmarks [--only C2,C3] [--size base] [--quick]``.

Writes one JSON file a run; ``python -m benchmarks.table`` makes the table of the docs from it.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.bench import QUICK, Bench, Plan
from benchmarks.costs import measure_memory, measure_overhead, measure_silence
from benchmarks.engines import measure_engines
from benchmarks.figures import Result
from benchmarks.load import measure_clip_under_load, measure_clips, measure_long_files, measure_shares
from benchmarks.load_curves import measure_curve, measure_lengths
from benchmarks.load_limits import measure_cache, measure_flood
from benchmarks.machine import count_cores, describe_machine, processor_kind
from benchmarks.roofline import measure_roofline
from benchmarks.speed import measure_clip, measure_long_file, measure_words
from benchmarks.subjects import ONE_LOCK, ONE_LOCK_BATCHED, PEERS_PYTHON, ModelSetup
from benchmarks.widen import NANO_HF, SHAPES, widen
from benchmarks.worker import OTHER_ENGINES

MEASURES: dict[str, Callable[[Bench], list[Result]]] = {
    "C2": measure_clip,
    "C3": measure_long_file,
    "C7": measure_overhead,
    "C8": measure_memory,
    "C9": measure_silence,
    "C10": measure_words,
    "C1": measure_clips,
    "C4": measure_long_files,
    "C5": measure_clip_under_load,
    "C6": measure_shares,
    "C11": measure_cache,
    "CURVE": measure_curve,
    "LENGTH": measure_lengths,
    "FLOOD": measure_flood,
    "ENGINE": measure_engines,
    "ROOF": measure_roofline,
}
OTHERS = (ONE_LOCK, ONE_LOCK_BATCHED, *OTHER_ENGINES)
RESULTS = Path(__file__).parent / "results"
QUANTIZATION = "int8"
SCHEMA = 1
"""Of the JSON files; raise it where a field changes its meaning."""


def main() -> None:
    """Run from the command line; the exit status does not depend on the figures."""
    args = parse_arguments(sys.argv[1:])
    size = "nano" if args.quick else args.size
    if args.peers_python:
        os.environ[PEERS_PYTHON] = args.peers_python
    setup = _model(args.cache, size, args.threads)
    bench = Bench(
        setup=setup,
        nano=_model(args.cache, "nano", args.threads),
        plan=_plan(args),
        cache=args.cache / "recordings",
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    started = datetime.now(UTC)
    parts = [*(args.only if len(args.only) < len(MEASURES) else []), *(["peers"] if args.peers else [])]
    kind = processor_kind(describe_machine()["cpu"])
    path = args.out / result_name(started, size, args.threads, kind, parts)
    results: list[Result] = []
    for id_ in args.only:
        found = MEASURES[id_](bench)
        results += found
        # After every measure, so that an interrupted run leaves what it has.
        _write(path, _document(bench, size, started, results))
        for result in found:
            bench.report(describe_result(result))
    print(path)


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Exits with a message where they make no sense."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", type=_measures, default=list(MEASURES), metavar="C2,C3", help="some of the measures")
    parser.add_argument("--size", choices=SHAPES, default="base", help="shape of the model (default: base)")
    parser.add_argument("--quick", action="store_true", help="nano, short recordings: does it all run? No figures")
    parser.add_argument("--repeat", type=_positive, metavar="N", help="repeats of long files (default: 3)")
    parser.add_argument("--long-seconds", type=_positive, metavar="S", help="length of long files (default: 600)")
    parser.add_argument(
        "--peers",
        type=_peers,
        default=(),
        metavar="all|NAME,NAME",
        help=f"more peers for C2 and C3: {', '.join(OTHERS)}",
    )
    parser.add_argument("--peers-python", metavar="PATH", help=f"Python that has auricle[peers] (or {PEERS_PYTHON})")
    parser.add_argument("--minutes", type=_positive, metavar="N", help="for all measures of load (default: 12)")
    parser.add_argument("--threads", type=_positive, default=count_cores(), help="of every engine (default: all cores)")
    parser.add_argument("--out", type=Path, help="folder of the JSON file (default: benchmarks/results)")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "auricle-bench")
    args = parser.parse_args(arguments)
    args.out = args.out or (args.cache / "quick" if args.quick else RESULTS)
    return args


def result_name(started: datetime, size: str, threads: int, processor: str, parts: list[str]) -> str:
    """File name of a run, such as ``2026-11-20-base-int8-2core-avx2.json``; some measures or more peers are named."""
    return "-".join([f"{started:%Y-%m-%d}", size, QUANTIZATION, f"{threads}core", processor, *parts]) + ".json"


def describe_result(result: Result) -> str:
    """One line about a figure."""
    verdict = {True: "met", False: "missed", None: "no goal"}[result.met]
    against = f" against {result.peer}" if result.peer else ""
    return f"{result.id}: {result.subject}{against}, {result.measure}: {result.figure.median:.3f} ({verdict})"


def _measures(text: str) -> list[str]:
    chosen = [part.strip().upper() for part in text.split(",") if part.strip()]
    if not chosen or (unknown := [id_ for id_ in chosen if id_ not in MEASURES]):
        raise argparse.ArgumentTypeError(
            f"no measure {', '.join(unknown) if chosen else repr(text)}; there are {', '.join(MEASURES)}"
        )
    return [id_ for id_ in MEASURES if id_ in chosen]


def _peers(text: str) -> tuple[str, ...]:
    chosen = list(OTHERS) if text == "all" else [part.strip() for part in text.split(",")]
    if unknown := [name for name in chosen if name not in OTHERS]:
        raise argparse.ArgumentTypeError(f"no peer {', '.join(map(repr, unknown))}; there are {', '.join(OTHERS)}")
    return tuple(name for name in OTHERS if name in chosen)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above zero")
    return int(text)


def _plan(args: argparse.Namespace) -> Plan:
    plan = QUICK if args.quick else Plan()
    return replace(
        plan,
        repeats=args.repeat or plan.repeats,
        long_s=args.long_seconds or plan.long_s,
        others=args.peers,
        load_minutes=args.minutes or plan.load_minutes,
    )


def _model(cache: Path, size: str, threads: int) -> ModelSetup:
    path = cache / "models" / f"{size}-{QUANTIZATION}"
    if not (path / "config.json").exists():  # it is written last
        widen(NANO_HF, size, path, QUANTIZATION)
    return ModelSetup(path=path, threads=threads, compute_type=QUANTIZATION)


def _document(bench: Bench, size: str, started: datetime, results: list[Result]) -> dict[str, Any]:
    weights = bench.setup.path / "model.bin"
    return {
        "schema": SCHEMA,
        "started": started.isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "model": {
            "shape": size,
            "made": "nano, widened by benchmarks/widen.py: the exact shape of this size, the outputs of nano",
            "quantization": QUANTIZATION,
            "mib": round(weights.stat().st_size / 2**20, 1),
        },
        "settings": {
            "threads": bench.setup.threads,
            "compute_type": bench.setup.compute_type,
            "concurrency": 1,
            "language": "auto",
            "plan": asdict(bench.plan),
        },
        "audio": [
            {"name": recording.name, "seconds": recording.seconds, "words": len(recording.text.split())}
            for recording in bench.recordings.values()
        ],
        "not_installed": bench.not_installed,
        "results": [result.to_json() for result in results],
        "runs": [asdict(run) for run in bench.runs],
    }


def _write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
