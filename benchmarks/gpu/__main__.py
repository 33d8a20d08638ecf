"""Measure the PyTorch engine: ``python -m benchmarks.gpu [--device cuda] [--sizes turbo,large-v2] [--quick]``.

For each shape: milliseconds of a window by the encoder's batch, of a step by slots, RTFx of the engine alone with and
without word times, RTFx over HTTP, memory, shares of the measured peaks, and Transformers in the same run. Writes one
JSON file and prints a table last. With ``--device cpu --sizes nano --quick`` it takes seconds and tells only that all
of it runs.
"""

import argparse
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from auricle.engines.base import EngineConfig
from auricle.types import Features, Row
from benchmarks.gpu.device import describe_device, measure_peak, memory_mib
from benchmarks.gpu.engine import drive, make_rows, measure_encoder, measure_step, open_engine, open_model
from benchmarks.gpu.http import measure_latency, measure_throughput, open_server
from benchmarks.gpu.peer import measure_transformers
from benchmarks.machine import describe_machine
from benchmarks.recordings import Recording, build_recording
from benchmarks.widen import NANO_HF, SHAPES, widen_hf

RESULTS = Path(__file__).parents[1] / "results"
CACHE = Path.home() / ".cache" / "auricle-bench"
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class Plan:
    """How much is measured."""

    def __init__(self, *, device: str, is_quick: bool) -> None:
        is_small = is_quick or device != "cuda"
        self.encoder_batches = (1, 2) if is_small else (1, 2, 4, 8, 16, 32)
        self.slots = (1, 4, 8) if is_small else (1, 8, 16, 32, 64, 96, 128)
        self.repeats = 1 if is_quick else 5
        self.rows = 8 if is_quick else 24 if is_small else 1024
        self.files = 2 if is_quick else 4 if is_small else 64
        self.file_s = 40.0 if is_quick else 120.0
        self.hour_s = 60.0 if is_quick else 600.0 if is_small else 3600.0
        self.clips = 4 if is_quick else 16 if is_small else 640
        self.clip_clients = 2 if is_small else 32


def main() -> None:
    """Run from the command line."""
    args = _arguments()
    plan = Plan(device=args.device, is_quick=args.quick)
    dtype = _DTYPES[args.compute_type]
    peak = measure_peak(args.device, dtype)
    document: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "accelerator": describe_device(args.device)
        | {"tflops": round(peak.flops / 1e12, 2), "gb_per_s": round(peak.bytes / 1e9, 1)},
        "compute_type": args.compute_type,
        "sizes": {},
    }
    for size in args.sizes.split(","):
        folder = args.cache / "models" / f"{size}-hf-float32"
        if not (folder / "config.json").exists():
            _tell(f"{size}: widening nano")
            widen_hf(NANO_HF, size, folder, "float32")
        document["sizes"][size] = _measure_size(folder, plan, args)
    name = f"{document['started'][:10]}-torch-{args.device}-{args.compute_type}-{args.sizes.replace(',', '-')}.json"
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / name).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    _print_table(document)


def _measure_size(folder: Path, plan: Plan, args: argparse.Namespace) -> dict[str, Any]:
    size = folder.name.removesuffix("-hf-float32")
    dtype = _DTYPES[args.compute_type]
    peak = measure_peak(args.device, dtype)
    speech = build_recording(args.cache, "speech", 120 if args.quick else 600, 0)
    config = EngineConfig(
        engine="torch",
        model_name=size,
        model_path=folder,
        device=args.device,
        compute_type=args.compute_type,
        max_batch=0 if args.device == "cuda" else plan.slots[-1],
    )
    found: dict[str, Any] = {}
    loaded = open_model(config)
    found["encoder"] = measure_encoder(loaded, plan.encoder_batches, plan.repeats, peak)
    shape = loaded.model.shape
    del loaded
    _tell(f"{size}: encoder {found['encoder']}")

    engine = open_engine(config)
    steps = []
    for slots in plan.slots:
        rows, _ = make_rows(folder, speech.path, engine, slots, suppress_tokens=(50257,))
        if slots <= engine.info.max_batch and (step := measure_step(engine, rows, shape, dtype.itemsize, peak)):
            steps.append(step)
            _tell(f"{size}: step {step}")
    found["step"] = steps
    for name, options in (("plain", {}), ("words", {"word_timestamps": True})):
        rows, audio_s = make_rows(folder, speech.path, engine, plan.rows, **options)
        driven = drive(engine, rows, audio_s)
        found[name] = {
            "windows": len(rows),
            "slots": engine.info.max_batch,
            "rtfx": round(driven.rtfx, 1),
            "steps": driven.steps,
            "slots_used": round(driven.slots_used, 3),
            "tokens_per_window": round(driven.tokens / len(rows), 1),
        }
        _tell(f"{size}: engine alone, {name} {found[name]}")
    found["words_over_plain"] = round(found["words"]["rtfx"] / found["plain"]["rtfx"], 3)
    found["memory_mib"] = memory_mib(args.device)
    features = [row.features for row in rows] if not engine.info.wants_samples else _features(rows, shape.n_mels)
    engine.close()
    del engine
    if args.device == "cuda":
        torch.cuda.empty_cache()

    if not args.no_peer:
        found["transformers"] = _try(
            lambda: measure_transformers(
                folder,
                features,
                device=args.device,
                dtype=dtype,
                batch=plan.slots[-1] if args.device != "cuda" else 64,
                batches=1 if args.quick else 3,
            )
        )
        _tell(f"{size}: transformers {found['transformers']}")
    if not args.no_http:
        found["http"] = _measure_http(folder, plan, args)
    return found


def _measure_http(folder: Path, plan: Plan, args: argparse.Namespace) -> dict[str, Any]:
    def speech(seconds: float, count: int) -> list[Recording]:
        return [build_recording(args.cache, "speech", seconds, seed) for seed in range(count)]

    # Files repeat after some, so that making them does not take longer than transcribing them.
    files = (speech(plan.file_s, min(4, plan.files)) * plan.files)[: plan.files]
    clips = (speech(5, 4) * plan.clips)[: plan.clips]
    with open_server(folder, device=args.device, compute_type=args.compute_type) as url:
        measure_throughput(url, clips[:2], 2)
        found = {
            "files": measure_throughput(url, files, len(files)),
            "files with words": measure_throughput(url, files, len(files), words=True),
            "clips": measure_throughput(url, clips, plan.clip_clients),
            "one long file": measure_throughput(url, speech(plan.hour_s, 1), 1),
            "one clip": measure_latency(url, clips[0], files, 4 if args.quick else 20),
        }
    for name, figures in found.items():
        _tell(f"{folder.name}: over HTTP, {name} {figures}")
    return found


def _features(rows: list[Row], n_mels: int) -> list[Features]:
    from auricle.audio.mel import log_mel

    return [log_mel(row.samples[200:-200], n_mels) for row in rows if row.samples is not None]


def _try(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A peer that is missing, or cannot do it, does not end the run."""
    try:
        return measure()
    except (ImportError, RuntimeError, ValueError, TypeError) as error:
        return {"failed": f"{type(error).__name__}: {error}"[:400]}


def _print_table(document: dict[str, Any]) -> None:
    accelerator = document["accelerator"]
    print(f"\n{accelerator}  {document['compute_type']}")
    print(
        f"{'shape':10} {'encoder ms':>11} {'of peak':>8} {'step ms':>8} {'slots':>6} {'of peak':>8} {'RTFx':>8} ",
        end="",
    )
    print(f"{'words':>6} {'HTTP':>8} {'clips/s':>8} {'peer':>8}")
    for size, found in document["sizes"].items():
        encoder, step, http = found["encoder"][-1], (found["step"] or [{}])[-1], found.get("http", {})
        print(
            f"{size:10} {encoder['ms_per_window']:11} {encoder['share_of_peak']:8} {step.get('ms', '-'):>8} "
            f"{step.get('slots', '-'):>6} {step.get('share_of_peak', '-'):>8} {found['plain']['rtfx']:8} "
            f"{found['words_over_plain']:6} {http.get('files', {}).get('rtfx', '-'):>8} "
            f"{http.get('clips', {}).get('requests_per_s', '-'):>8} "
            f"{found.get('transformers', {}).get('rtfx', '-'):>8}"
        )


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu", "mps"), default=device)
    parser.add_argument("--sizes", default="turbo,large-v2" if device == "cuda" else "nano", help=", ".join(SHAPES))
    parser.add_argument("--compute-type", choices=_DTYPES, default="bfloat16" if device == "cuda" else "float32")
    parser.add_argument("--quick", action="store_true", help="does it all run? No figures")
    parser.add_argument("--no-http", action="store_true", help="the engine only")
    parser.add_argument("--no-peer", action="store_true", help="without Transformers")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON file")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of models and recordings")
    args = parser.parse_args()
    if unknown := [size for size in args.sizes.split(",") if size not in SHAPES]:
        parser.error(f"unknown shape {unknown[0]!r}; use some of {', '.join(SHAPES)}")
    return args


if __name__ == "__main__":
    main()
