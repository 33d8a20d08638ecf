"""Which engine runs a model here, in which number format and size of batch, and why."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from auricle.engines.base import EngineConfig
from auricle.engines.devices import cpu_features, cuda_memory_bytes
from auricle.engines.folder_format import format_of
from auricle.engines.registry import INSTALL, check_engine, installed_engines
from auricle.engines.speed import WORTH, Table, Trial
from auricle.errors import EngineNotInstalled, InvalidOption

_FORMATS = {
    ("ct2", "cpu"): ("int8_float32", "int16", "float32"),
    ("ct2", "cuda"): ("int8_float16", "float16", "float32"),
    ("openvino", "cpu"): ("int8_bfloat16", "int8_float32", "bfloat16", "float32"),
}
"""Number formats that are worth a trial, the one that is probably fastest first; a device may lack some."""
_EXACTNESS = ("float32", "int16", "bfloat16", "float16")
"""What is not here is less exact, and about equally so: 8-bit weights."""
_BFLOAT16 = frozenset(("avx512_bf16", "amx_bf16"))
"""Instructions that OpenVINO was measured to be faster with; without, CTranslate2 was as fast or faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What engines are chosen by, apart from the settings and what was measured."""

    device: str
    """What ``auto`` means here: ``cpu`` or ``cuda``."""
    features: Collection[str]
    """What the processor can do, as ``devices.cpu_features`` has it."""
    installed: Collection[str]
    """Engines whose packages are there."""
    readers: Collection[str]
    """Engines that can read the model's files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An engine, and how it is to run."""

    engine: str
    compute_type: str
    """``auto`` leaves it to the engine."""
    max_batch: int
    """0 leaves it to the engine."""
    reason: str
    """Why this engine."""
    is_measured: bool
    """Whether the number format and the size of a batch are what was measured to be best."""

    def apply(self, config: EngineConfig) -> EngineConfig:
        """``config`` with what is chosen."""
        return replace(config, engine=self.engine, compute_type=self.compute_type, max_batch=self.max_batch)


def look_around(model_path: Path | None) -> Surroundings:
    """What is here, for the model in a folder; for any model where there is none yet."""
    return Surroundings(
        device="cuda" if cuda_memory_bytes() else "cpu",
        features=cpu_features(),
        installed=installed_engines(),
        readers=("ct2", "openvino") if model_path is None else _readers(model_path),
    )


def choose(config: EngineConfig, table: Table | None, here: Surroundings) -> Choice:
    """The engine that ``config`` asks for; for ``auto`` the fastest that was measured, else the probably fastest.

    Raises InvalidOption where the engine is unknown or CUDA is asked for in vain, EngineNotInstalled where none that
    could run the model is there.
    """
    engines, reason = _possible(config, here)
    trials = [trial for trial in table.trials if trial.costs and _suits(trial, config, engines)] if table else []
    if table is None or not trials:
        return Choice(
            engine=engines[0],
            compute_type=config.compute_type,
            max_batch=config.max_batch,
            reason=reason or _expectation(engines, here),
            is_measured=False,
        )
    best = _best(trials, table.beam_size)
    return Choice(
        engine=best.engine,
        compute_type=best.compute_type,
        max_batch=config.max_batch or best.best(table.beam_size).rows,
        reason=reason or _comparison(trials, engines, table.beam_size),
        is_measured=True,
    )


def candidates(config: EngineConfig, here: Surroundings) -> list[EngineConfig]:
    """What to measure for ``config``: each possible engine with each number format; errors as of ``choose``."""
    engines, _ = _possible(config, here)
    found: list[EngineConfig] = []
    for engine in engines:
        device = "cuda" if engine == "ct2" and _device(config, here) == "cuda" else "cpu"
        formats = _FORMATS.get((engine, device), ("auto",)) if config.compute_type == "auto" else (config.compute_type,)
        # What is tried once need not be kept compiled.
        found += [replace(config, engine=engine, compute_type=name, cache_dir=None) for name in formats]
    return found


def _possible(config: EngineConfig, here: Surroundings) -> tuple[tuple[str, ...], str]:
    """The engines that come into question, the probably fastest first; and why, where it is only one."""
    if config.engine != "auto":
        check_engine(config.engine)
        return (config.engine,), "the setting says so"
    if _device(config, here) == "cuda" and "ct2" in here.readers:
        return ("ct2",), "it runs on CUDA"
    if config.device == "cuda":
        raise InvalidOption(f"{config.model_name} cannot be run on CUDA: engine 'ct2' cannot read it", param="device")
    order = ("openvino", "ct2") if _BFLOAT16 & set(here.features) else ("ct2", "openvino")
    readers = tuple(engine for engine in order if engine in here.readers)
    able = tuple(engine for engine in readers if _has_format(engine, config.compute_type)) or readers
    present = tuple(engine for engine in able if engine in here.installed)
    if not present:
        names = " or ".join(f"{engine!r} (pip install '{INSTALL[engine]}')" for engine in able)
        raise EngineNotInstalled(f"{config.model_name} needs the engine {names}, which is not installed")
    if len(present) > 1:
        return present, ""
    if len(readers) == 1:
        return present, "no other engine can read the model's files"
    if len(able) == 1:
        return present, f"no other engine has the compute type {config.compute_type}"
    missing = next(engine for engine in able if engine not in present)
    return present, f"{missing!r} is not installed (pip install '{INSTALL[missing]}')"


def _device(config: EngineConfig, here: Surroundings) -> str:
    return here.device if config.device == "auto" else config.device


def _has_format(engine: str, compute_type: str) -> bool:
    # CTranslate2 knows all names and says itself what the device lacks.
    return engine != "openvino" or compute_type in {"auto", "default", "int8", *_FORMATS["openvino", "cpu"]}


def _readers(model_path: Path) -> tuple[str, ...]:
    return ("openvino",) if format_of(model_path) == "hf" else ("ct2", "openvino")


def _suits(trial: Trial, config: EngineConfig, engines: Collection[str]) -> bool:
    asked = config.compute_type
    # "int8" leaves open what the rest is computed in.
    is_asked = asked in {"auto", trial.compute_type} or (asked == "int8" and trial.compute_type.startswith("int8"))
    return trial.engine in engines and is_asked


def _best(trials: Collection[Trial], beam_size: int) -> Trial:
    """The most exact trial that no other beats by much; among equally exact ones the fastest."""
    limit = WORTH * min(trial.best(beam_size).row_s for trial in trials)
    near = [trial for trial in trials if trial.best(beam_size).row_s <= limit]
    return min(near, key=lambda trial: (_inexactness(trial.compute_type), trial.best(beam_size).row_s))


def _inexactness(compute_type: str) -> int:
    return _EXACTNESS.index(compute_type) if compute_type in _EXACTNESS else len(_EXACTNESS)


def _comparison(trials: Collection[Trial], engines: Collection[str], beam_size: int) -> str:
    """What each engine's best trial takes."""
    parts: list[str] = []
    for engine in engines:
        own = [trial for trial in trials if trial.engine == engine]
        seconds = _best(own, beam_size).best(beam_size).row_s if own else None
        parts.append(f"{engine} {1e3 * seconds:.0f} ms a window" if seconds is not None else f"{engine} failed")
    return "measured: " + ", ".join(parts)


def _expectation(engines: Collection[str], here: Surroundings) -> str:
    first, second = engines
    has = "has" if _BFLOAT16 & set(here.features) else "is not known to have"
    return f"not measured; {first!r} is taken to be faster than {second!r}, since the processor {has} bfloat16 products"
