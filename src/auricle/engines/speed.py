"""How fast engines run a model on this machine, as it was measured: the words for it, and the table that is kept."""

import hashlib
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from auricle.engines.base import EngineConfig
from auricle.engines.devices import cpu_features, cuda_devices

WORTH = 1.05
"""A less exact format, or a larger batch, which keeps urgent rows waiting, must be faster by this factor."""
_PACKAGES = ("auricle", "ctranslate2", "openvino", "torch", "mlx")
"""Another version of one of these may have another speed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCost:
    """Seconds of one row in a batch of ``rows`` that are decoded with ``beam_size`` beams."""

    rows: int
    beam_size: int
    encode_s: float
    decode_s: float
    """Of a text of typical length, the decoder's view of the encoding included."""

    @property
    def row_s(self) -> float:
        """Seconds of a typical row."""
        return self.encode_s + self.decode_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What was measured with one engine and number format."""

    engine: str
    compute_type: str
    costs: tuple[BatchCost, ...] = ()
    problem: str = ""
    """Why there are no costs."""

    def best(self, beam_size: int) -> BatchCost:
        """The smallest batch that no other beats by much. Raises ValueError where this was not measured."""
        costs = [cost for cost in self.costs if cost.beam_size == beam_size]
        limit = WORTH * min(cost.row_s for cost in costs)
        return next(cost for cost in costs if cost.row_s <= limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The trials of one model on one machine; each engine and number format once."""

    measured_at: str
    """UTC, ISO 8601."""
    beam_size: int
    """That of the settings, by which engines are chosen."""
    trials: tuple[Trial, ...]

    def covers(self, configs: Sequence[EngineConfig]) -> bool:
        """Whether all of these were tried, with success or without."""
        tried = {(trial.engine, trial.compute_type) for trial in self.trials}
        return tried >= {(config.engine, config.compute_type) for config in configs}

    def over(self, older: "Table | None") -> "Table":
        """This table with the trials of ``older`` that it does not have."""
        own = {(trial.engine, trial.compute_type) for trial in self.trials}
        kept = [trial for trial in older.trials if (trial.engine, trial.compute_type) not in own] if older else []
        return replace(self, trials=(*self.trials, *kept))


def table_path(config: EngineConfig, beam_size: int, data_dir: Path) -> Path:
    """Where the table for this model, machine and software lies; any change of these gives another name."""
    identity = json.dumps(_identity(config, beam_size), sort_keys=True)
    return data_dir / "calibration" / f"{hashlib.sha256(identity.encode()).hexdigest()[:20]}.json"


def load_table(config: EngineConfig, beam_size: int, data_dir: Path) -> Table | None:
    """The table for ``config``; None where there is none that can be read. The engine and the format do not matter."""
    try:
        body = json.loads(table_path(config, beam_size, data_dir).read_text("utf-8"))
        table = Table(
            measured_at=str(body["measured_at"]), beam_size=beam_size, trials=tuple(map(_trial, body["trials"]))
        )
        for trial in table.trials:
            if trial.costs:
                trial.best(beam_size)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return table


def save_table(config: EngineConfig, data_dir: Path, table: Table) -> Path:
    """Write the table for ``config``, in one step. Raises OSError."""
    path = table_path(config, table.beam_size, data_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    body = {"model": config.model_name, "identity": _identity(config, table.beam_size), **asdict(table)}
    unfinished.write_text(json.dumps(body, indent=1), "utf-8")
    unfinished.replace(path)
    return path


def _trial(body: dict[str, Any]) -> Trial:
    return Trial(
        engine=str(body["engine"]),
        compute_type=str(body["compute_type"]),
        costs=tuple(BatchCost(**cost) for cost in body["costs"]),
        problem=str(body["problem"]),
    )


def _identity(config: EngineConfig, beam_size: int) -> dict[str, object]:
    """What a measurement depends on. Of a model that is its shape, which the sizes of its files tell."""
    files = {file.name: file.stat().st_size for file in config.model_path.glob("*") if file.is_file()}
    return {
        "files": files,
        "device": config.device,
        "device_index": config.device_index,
        "cuda": [(device.name, device.memory_bytes) for device in cuda_devices()],
        "options": dict(sorted(config.options.items())),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": config.threads,
        "beam_size": beam_size,
        "versions": {package: _version(package) for package in _PACKAGES},
        "optimized": config.optimized.name if config.optimized is not None else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    # Virtual machines may hide the name; what the processor can do tells it then.
    return " ".join((name or platform.processor() or platform.machine(), *sorted(cpu_features())))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
