"""What an engine costs on this machine, measured once: number formats and sizes of batches, kept as a table."""

import hashlib
import json
import os
import platform
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from auricle.engines.base import EngineConfig
from auricle.engines.devices import cuda_memory_bytes
from auricle.errors import EngineOutOfMemory
from auricle.types import DecodingOptions, ModelInfo, Row
from auricle.units import N_FRAMES

BATCHES = (1, 2, 4, 8)
_CANDIDATES = {
    ("ct2", "cpu"): ("float32", "int16", "int8_float32"),
    ("ct2", "cuda"): ("float32", "float16", "int8_float16"),
}
"""Number formats to try, the more exact first; what the device lacks is passed over."""
_PACKAGES = {"ct2": "ctranslate2", "openvino": "openvino"}
_WORTH = 1.05
"""A less exact format, or a larger batch, which keeps urgent rows waiting, must be faster by this factor."""
_FEW, _MANY = 4, 28
_TYPICAL_TOKENS = 40
"""Of a window of speech that is about half full."""

Decode = Callable[[Sequence[Row]], Awaitable[float]]
"""Has a batch decoded; gives the seconds in the engine. Raises EngineError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCost:
    """Seconds of one row in a batch of ``rows``."""

    rows: int
    encode_s: float
    start_s: float
    """Before the first token: the decoder's view of the encoding is made."""
    token_s: float

    @property
    def row_s(self) -> float:
        """Seconds of a typical row."""
        return self.encode_s + self.start_s + _TYPICAL_TOKENS * self.token_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What was measured with one number format; at least one batch."""

    compute_type: str
    costs: tuple[BatchCost, ...]

    @property
    def best(self) -> BatchCost:
        """The smallest batch that no other beats by much."""
        limit = min(cost.row_s for cost in self.costs) * _WORTH
        return next(cost for cost in self.costs if cost.row_s <= limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The trials of one model on one machine."""

    measured_at: str
    """UTC, ISO 8601."""
    trials: tuple[Trial, ...]
    """At least one; the more exact first."""

    @property
    def best(self) -> Trial:
        """The most exact format that no other beats by much."""
        limit = min(trial.best.row_s for trial in self.trials) * _WORTH
        return next(trial for trial in self.trials if trial.best.row_s <= limit)


def candidates(config: EngineConfig) -> tuple[str, ...]:
    """The number formats to try for ``config``: the one that it names, or those of the device."""
    if config.compute_type != "auto":
        return (config.compute_type,)
    return _CANDIDATES.get((config.engine, _device(config)), ("auto",))


async def measure(
    decode: Decode, info: ModelInfo, *, prompt: Sequence[int], eot: int, beam_size: int
) -> tuple[BatchCost, ...]:
    """Costs of each size of batch, up to the one for which the memory does not suffice.

    The windows are noise of 30 s. The end token ``eot`` is forbidden, so that every row has as many tokens as are
    asked for; what a token costs is told by two lengths, and the encoder by rows that come again, since engines keep
    encodings.
    """
    features = np.random.default_rng(0).standard_normal((info.n_mels, N_FRAMES), dtype=np.float32)

    def rows(count: int, tokens: int) -> list[Row]:
        options = DecodingOptions(beam_size=beam_size, max_new_tokens=tokens, suppress_tokens=(eot,))
        keys = [f"calibration:{index}" for index in range(count)]
        return [Row(key=key, features=features, prompt=tuple(prompt), options=options) for key in keys]

    async def decode_again(batch: Sequence[Row]) -> float:
        return min([await decode(batch) for _ in range(2)])

    # What is done once a process: memory, threads, kernels. A key of its own, so that row 0 is still to be encoded.
    await decode([replace(row, key="calibration:warm") for row in rows(1, _FEW)])
    costs: list[BatchCost] = []
    with suppress(EngineOutOfMemory):
        for count in BATCHES:
            new = count - (costs[-1].rows if costs else 0)
            fresh = await decode(rows(count, _FEW))
            few = await decode_again(rows(count, _FEW))
            many = await decode_again(rows(count, _MANY))
            token_s = max(many - few, 0.0) / (_MANY - _FEW)
            costs.append(
                BatchCost(
                    rows=count,
                    encode_s=max(fresh - few, 0.0) / new,
                    start_s=max(few - _FEW * token_s, 0.0) / count,
                    token_s=token_s / count,
                )
            )
    if costs and info.device == "cpu":
        # There a batch is encoded row by row: the least is what it costs, the rest is what disturbed it.
        least = min(cost.encode_s for cost in costs)
        return tuple(replace(cost, encode_s=least) for cost in costs)
    return tuple(costs)


def tuned(config: EngineConfig, table: Table | None) -> EngineConfig:
    """``config`` with what it leaves open taken from the table."""
    if table is None:
        return config
    best = table.best
    return replace(
        config,
        compute_type=best.compute_type if config.compute_type == "auto" else config.compute_type,
        max_batch=config.max_batch or best.best.rows,
    )


def table_path(config: EngineConfig, data_dir: Path) -> Path:
    """Where the table for this model, machine and software lies; any change of these gives another name."""
    identity = json.dumps(_identity(config), sort_keys=True)
    return data_dir / "calibration" / f"{hashlib.sha256(identity.encode()).hexdigest()[:20]}.json"


def load_table(config: EngineConfig, data_dir: Path) -> Table | None:
    """The table for ``config``; None where there is none that can be read."""
    try:
        body = json.loads(table_path(config, data_dir).read_text("utf-8"))
        trials = tuple(
            Trial(compute_type=str(trial["compute_type"]), costs=tuple(BatchCost(**cost) for cost in trial["costs"]))
            for trial in body["trials"]
        )
        if not trials or not all(trial.costs for trial in trials):
            return None
        return Table(measured_at=str(body["measured_at"]), trials=trials)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def save_table(config: EngineConfig, data_dir: Path, table: Table) -> Path:
    """Write the table for ``config``, in one step. Raises OSError."""
    path = table_path(config, data_dir)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    unfinished.write_text(json.dumps({"identity": _identity(config), **asdict(table)}, indent=1), "utf-8")
    unfinished.replace(path)
    return path


def _identity(config: EngineConfig) -> dict[str, object]:
    """What a measurement depends on. Of a model that is its shape, which its size tells."""
    files = (file for file in config.model_path.rglob("*") if file.is_file())
    package = _PACKAGES.get(config.engine)
    return {
        "model": config.model_name,
        "model_bytes": sum(file.stat().st_size for file in files),
        "compute_type": config.compute_type,
        "engine": config.engine,
        "device": _device(config),
        "cuda_memory_bytes": list(cuda_memory_bytes()),
        "device_index": config.device_index,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": config.threads,
        "versions": [_version("auricle"), _version(package) if package else None],
    }


def _device(config: EngineConfig) -> str:
    if config.device != "auto":
        return config.device
    return "cuda" if cuda_memory_bytes() else "cpu"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return model or platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
