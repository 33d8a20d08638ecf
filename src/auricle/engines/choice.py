"""Which engine runs a model here, on which device, in which number format and size of batch, and why."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from auricle.engines.base import EngineConfig
from auricle.engines.builds import GPU_ENGINES, gpu_builds
from auricle.engines.devices import apple_gpu, cpu_features, cuda_devices
from auricle.engines.folder_format import FolderFormat, format_of
from auricle.engines.registry import ENGINES, INSTALL, check_engine, installed_engines
from auricle.engines.speed import WORTH, Table, Trial
from auricle.errors import EngineNotInstalled

_FORMATS = {
    ("ct2", "cpu"): ("int8_float32", "int16", "float32"),
    ("ct2", "cuda"): ("int8_float16", "float16", "float32"),
    ("openvino", "cpu"): ("int8_bfloat16", "int8_float32", "bfloat16", "float32"),
    ("torch", "cpu"): ("bfloat16", "float32"),
    ("torch", "cuda"): ("float16", "bfloat16", "float32"),
    ("torch", "mps"): ("float16", "float32"),
    ("mlx", "cpu"): ("int8_float32", "float32"),
    ("mlx", "mps"): ("int8_float16", "float16", "float32"),
}
"""Number formats that are worth a trial, the one that is probably fastest first; a device may lack some."""
_OTHER_FORMATS = {
    "openvino": {"int8"},
    "torch": {"float16", "bfloat16"},
    "mlx": {
        "bfloat16",
        *(bits + rest for bits in ("int8", "int4") for rest in ("", "_float16", "_bfloat16", "_float32")),
    },
}
"""What an engine also takes where it is set; CTranslate2 knows all names and says itself what the device lacks."""
_EXACTNESS = ("float32", "int16", "float16", "bfloat16")
"""What is not here is less exact, and about equally so: 8-bit weights."""
_BFLOAT16 = frozenset(("avx512_bf16", "amx_bf16"))
"""Instructions that OpenVINO was measured to be faster with; without, CTranslate2 was as fast or faster."""
_READERS: dict[FolderFormat | None, tuple[str, ...]] = {
    "ct2": ("ct2", "openvino", "torch", "mlx"),
    "hf": ("openvino", "torch", "mlx"),
    "openai": ("openvino", "torch", "mlx"),
    None: ("ct2", "openvino", "torch", "mlx"),
}
"""Form of a model's folder -> the engines that read it; None stands for a model that is not there yet."""
_RESERVE = ("torch", "mlx")
"""Made for GPUs, and slower on a CPU than the others: taken there only where no other engine can run the model."""
_OF_MEMORY = frozenset(("torch",))
"""Engines whose rows join and leave at any step: they take as many at once as their device has memory for, and what a
batch of so many rows costs says nothing of how many that should be."""
_NAMES = {"cuda": "CUDA", "mps": "Apple's GPU"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What engines are chosen by, apart from the settings and what was measured."""

    device: str
    """What ``auto`` means here: ``cpu``, ``cuda`` or ``mps`` (the GPU of an Apple chip)."""
    features: Collection[str]
    """What the processor can do, as ``devices.cpu_features`` has it."""
    installed: Collection[str]
    """Engines whose packages are there."""
    builds: Mapping[str, Collection[str]]
    """Kind of GPU -> those of them that are built for it, as ``builds.gpu_builds`` has it."""
    readers: Collection[str]
    """Engines that can read the model's files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An engine, and how it is to run."""

    engine: str
    device: str
    """``cpu``, ``cuda`` or ``mps``."""
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
        return replace(
            _for_engine(config, self.engine, self.device), compute_type=self.compute_type, max_batch=self.max_batch
        )


def look_around(model_path: Path | None) -> Surroundings:
    """What is here, for the model in a folder; for any model where there is none yet."""
    installed = installed_engines()
    form = None if model_path is None else format_of(model_path)
    # It is PyTorch that opens its files, whatever the engine.
    readers = ("torch",) if form == "openai" and "torch" not in installed else _READERS[form]
    return Surroundings(
        device="cuda" if cuda_devices() else "mps" if apple_gpu() is not None else "cpu",
        features=cpu_features(),
        installed=installed,
        builds=gpu_builds(),
        readers=readers,
    )


def choose(config: EngineConfig, table: Table | None, here: Surroundings) -> Choice:
    """The engine that ``config`` asks for; for ``auto`` the fastest that was measured, else the probably fastest.

    Raises InvalidOption where the engine is unknown, EngineNotInstalled where none that could run the model, on the
    device that is asked for, is there.
    """
    possible = _possible(config, here)
    trials = [trial for trial in table.trials if trial.costs and _suits(trial, config, possible)] if table else []
    if table is None or not trials:
        return Choice(
            engine=possible.engines[0],
            device=possible.device,
            compute_type=config.compute_type,
            max_batch=config.max_batch,
            reason=possible.reason,
            is_measured=False,
        )
    best = _best(trials, table.beam_size)
    rows = 0 if best.engine in _OF_MEMORY else best.best(table.beam_size).rows
    return Choice(
        engine=best.engine,
        device=possible.device,
        compute_type=best.compute_type,
        max_batch=config.max_batch or rows,
        reason=possible.reason if possible.is_settled else _comparison(trials, possible.engines, table.beam_size),
        is_measured=True,
    )


def candidates(config: EngineConfig, here: Surroundings) -> list[EngineConfig]:
    """What to measure for ``config``: each possible engine with each number format; errors as of ``choose``."""
    possible = _possible(config, here)
    found: list[EngineConfig] = []
    for engine in possible.engines:
        formats = _FORMATS.get((engine, possible.device), ("auto",))
        # What is tried once need not be kept compiled.
        one = replace(_for_engine(config, engine, possible.device), cache_dir=None)
        found += [
            replace(one, compute_type=name)
            for name in (formats if config.compute_type == "auto" else (config.compute_type,))
        ]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Possible:
    engines: tuple[str, ...]
    """That come into question, the probably fastest first."""
    device: str
    reason: str
    """Why these, or this one."""
    is_settled: bool
    """Whether there is nothing to compare."""


def _possible(config: EngineConfig, here: Surroundings) -> _Possible:
    if config.engine != "auto":
        check_engine(config.engine)
        device = config.device
        if device == "auto":
            device = here.device if config.engine in here.builds.get(here.device, ()) else "cpu"
        return _Possible(engines=(config.engine,), device=device, reason="the setting says so", is_settled=True)
    device = here.device if config.device == "auto" else config.device
    if device == "cpu":
        return _on_cpu(config, here)
    engines = _able(tuple(engine for engine in GPU_ENGINES[device] if engine in here.readers), config, device)
    present = tuple(engine for engine in engines if engine in here.builds[device])
    if not present:
        lacking = _explain_missing(engines, device, here)
        if config.device != "auto":
            raise EngineNotInstalled(f"{config.model_name} cannot be run on {_NAMES[device]}: {lacking}")
        found = _on_cpu(config, here)
        return replace(found, reason=f"{found.reason}; {_NAMES[device]} is not used: {lacking}")
    return _Possible(
        engines=present,
        device=device,
        reason=_expectation_on_gpu(present, engines[: engines.index(present[0])], device, here),
        is_settled=len(present) == 1,
    )


def _on_cpu(config: EngineConfig, here: Surroundings) -> _Possible:
    has_bfloat16 = bool(_BFLOAT16 & set(here.features))
    order = ("openvino", "ct2") if has_bfloat16 else ("ct2", "openvino")
    readers = tuple(engine for engine in order if engine in here.readers)
    able = _able(readers, config, "cpu")
    present = tuple(engine for engine in able if engine in here.installed)
    if not present:
        return _in_reserve(able, config, here)
    if len(present) > 1:
        has = "has" if has_bfloat16 else "is not known to have"
        first, second = present
        reason = f"not measured; {first!r} is taken to be faster than {second!r}: the processor {has} bfloat16 products"
    elif len(readers) == 1:
        reason = "no faster engine can read the model's files"
    elif len(able) == 1:
        reason = f"no other engine has the compute type {config.compute_type}"
    else:
        reason = _not_installed(next(engine for engine in able if engine not in present))
    return _Possible(engines=present, device="cpu", reason=reason, is_settled=len(present) == 1)


def _in_reserve(missing: tuple[str, ...], config: EngineConfig, here: Surroundings) -> _Possible:
    """Where none is installed that is good on a CPU; ``missing`` are those that would be."""
    reserve = _able(tuple(engine for engine in _RESERVE if engine in here.readers), config, "cpu")
    found = next((engine for engine in reserve if engine in here.installed), None)
    if found is None:
        names = " or ".join(f"{engine!r} (pip install '{INSTALL[engine]}')" for engine in (*missing, *reserve))
        raise EngineNotInstalled(f"{config.model_name} needs the engine {names}, which is not installed")
    reason = "; ".join(["it is installed and can read the model", *(_not_installed(engine) for engine in missing)])
    return _Possible(engines=(found,), device="cpu", reason=reason, is_settled=True)


def _able(readers: tuple[str, ...], config: EngineConfig, device: str) -> tuple[str, ...]:
    """Those that have the number format; all where none has, since their own errors say what there is."""
    asked = config.compute_type
    able = tuple(
        engine
        for engine in readers
        if engine == "ct2" or asked in {"auto", "default", *_FORMATS[engine, device], *_OTHER_FORMATS.get(engine, ())}
    )
    return able or readers


def _expectation_on_gpu(present: tuple[str, ...], faster: Collection[str], device: str, here: Surroundings) -> str:
    if len(present) > 1:
        why = {
            "cuda": "its rows join and leave at any step, and no token waits for the processor",
            "mps": "it is made for this GPU",
        }[device]
        return f"not measured; {present[0]!r} is taken to be faster than {present[1]!r} on {_NAMES[device]}: {why}"
    lacking = [_explain_missing(faster, device, here)] if faster else []
    return "; ".join([f"it runs on {_NAMES[device]}", *lacking])


def _explain_missing(engines: Collection[str], device: str, here: Surroundings) -> str:
    parts = [
        f"the installed {engine!r} is not built for {'CUDA' if device == 'cuda' else 'it'}"
        if engine in here.installed
        else _not_installed(engine)
        for engine in engines
    ]
    return "; ".join(parts) or "no engine that can use it reads the model's files"


def _not_installed(engine: str) -> str:
    return f"{engine!r} is not installed (pip install '{INSTALL[engine]}')"


def _for_engine(config: EngineConfig, engine: str, device: str) -> EngineConfig:
    """``config`` for one engine: options that begin with the name of one are for it, by the rest of their name."""
    others = tuple(f"{name}_" for name in ENGINES if name != engine)
    options = {
        name.removeprefix(f"{engine}_"): value for name, value in config.options.items() if not name.startswith(others)
    }
    return replace(config, engine=engine, device=device, options=options)


def _suits(trial: Trial, config: EngineConfig, possible: _Possible) -> bool:
    asked = config.compute_type
    # "int8" leaves open what the rest is computed in.
    is_asked = asked in {"auto", trial.compute_type} or (asked == "int8" and trial.compute_type.startswith("int8"))
    return trial.engine in possible.engines and is_asked


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
