"""From a model's folder to its compiled encoder and decoder: number format, graph, and the cache on disk."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
# OpenVINO carries no complete types.

import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import openvino as ov

from auricle.engines.base import EngineConfig
from auricle.engines.checkpoint import Checkpoint
from auricle.engines.checkpoint_files import read_checkpoint
from auricle.engines.heap import give_freed_memory_back
from auricle.engines.openvino_cache import CompiledCache, Entry, cache_key, fingerprint
from auricle.engines.openvino_graph import GraphBuilder, split_encoder
from auricle.engines.optimized import Optimized, read_optimized
from auricle.errors import EngineFailed, InvalidOption

COMPUTE_TYPES = {
    "int8": "8-bit weights with activations rounded on the fly, the rest in bfloat16 where the CPU has it",
    "int8_bfloat16": "the same, with the rest in bfloat16",
    "int8_float32": "the same, with the rest in float32",
    "bfloat16": "bfloat16 products",
    "float32": "exact",
}

Hints = dict[str, Any]
Made = TypeVar("Made")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledEncoder:
    """An encoder and what comes after it; see ``openvino_graph.split_encoder``."""

    encoder: ov.CompiledModel
    projection: ov.CompiledModel


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledWhisper:
    """The networks, and what must be known of the model to run them."""

    full: CompiledEncoder
    """Of windows of the full length, for which it takes a twentieth less time, and less memory."""
    short: CompiledEncoder
    """Of windows of any length."""
    decoder: ov.CompiledModel
    checkpoint: Checkpoint
    compute_type: str
    """One of ``COMPUTE_TYPES``, settled."""
    cross_type: ov.Type
    """Of the keys and values of the cross-attention."""
    is_optimized: bool
    """Whether the encoders are those that were quantized beforehand."""
    was_cached: bool
    mapped: Entry | None
    """What the networks were taken from; they use its memory without keeping it alive."""


def compile_whisper(config: EngineConfig) -> CompiledWhisper:
    """The model of ``config``, compiled now or taken from ``config.cache_dir``.

    ``config.optimized`` is used where it fits, and never a reason to fail.
    Raises InvalidOption for a compute type that is not to be had, EngineFailed for files that are missing or damaged.
    """
    core = ov.Core()
    compute_type = choose_compute_type(config.compute_type, capabilities_of(core))
    try:
        checkpoint = read_checkpoint(config.model_path)
    except EngineFailed as error:
        raise EngineFailed(f"{config.model_name} cannot be loaded: {error.message}") from error
    load = partial(_load, core, config, checkpoint, compute_type=compute_type)
    optimized = _find_optimized(config, compute_type)
    if optimized is not None:
        try:
            return with_hints(compute_type, config.threads, partial(load, optimized=optimized))
        except RuntimeError as error:
            _tell_unused(config, str(error))
    try:
        return with_hints(compute_type, config.threads, partial(load, optimized=None))
    except RuntimeError as error:
        raise EngineFailed(f"OpenVINO cannot compile {config.model_name}: {error}") from error


def _load(
    core: ov.Core,
    config: EngineConfig,
    checkpoint: Checkpoint,
    hints: Hints,
    *,
    compute_type: str,
    optimized: Optimized | None,
) -> CompiledWhisper:
    about = {
        "model": fingerprint(config.model_path),
        "code": fingerprint(Path(__file__).parent),
        "openvino": ov.__version__,
        "processor": str(core.get_property("CPU", "FULL_DEVICE_NAME")),
        "capabilities": " ".join(sorted(capabilities_of(core))),
        "compute_type": compute_type,
        "hints": str(sorted(hints.items())),
        "encoder": optimized.folder.name if optimized else "",
    }
    key = cache_key(about)
    cache = None
    if config.cache_dir is not None and "EXPORT_IMPORT" in capabilities_of(core):
        cache = CompiledCache(folder=config.cache_dir, max_bytes=config.cache_bytes)
    models, entry = _take(core, cache, key, hints)
    was_cached = bool(models)
    if not models:
        made: list[ov.CompiledModel] = []
        compiling = _compile(core, checkpoint, hints, compute_type=compute_type, optimized=optimized)
        if cache and cache.write(key, _export(compiling, made), about):
            # Taken back from the file, the weights are mapped and not in memory twice.
            models, entry = _take(core, cache, key, hints)
        models = models or [*made, *compiling]
        del made
    if entry:
        entry.forget_pages()
    give_freed_memory_back()
    *encoders, decoder = models
    full, short = (CompiledEncoder(encoder=encoders[at], projection=encoders[at + 1]) for at in (0, 2))
    return CompiledWhisper(
        full=full,
        short=short,
        decoder=decoder,
        checkpoint=checkpoint,
        compute_type=compute_type,
        cross_type=full.projection.output(0).element_type,
        is_optimized=optimized is not None,
        was_cached=was_cached,
        mapped=entry,
    )


def choose_compute_type(asked: str, capabilities: Collection[str]) -> str:
    """What ``asked`` means on a CPU of these capabilities (OpenVINO's names).

    Raises InvalidOption for an unknown name, and for bfloat16 where there is none.
    """
    has_bfloat16 = "BF16" in capabilities
    if asked in {"auto", "default", "int8"}:
        return "int8_bfloat16" if has_bfloat16 else "int8_float32"
    if asked not in COMPUTE_TYPES:
        known = ", ".join(COMPUTE_TYPES)
        raise InvalidOption(f"engine 'openvino' has no compute type {asked!r}; it has {known}", param="compute_type")
    if asked.endswith("bfloat16") and not has_bfloat16:
        raise InvalidOption(
            f"this CPU has no bfloat16 products for compute type {asked!r}; use int8 or float32", param="compute_type"
        )
    return asked


def capabilities_of(core: ov.Core) -> list[str]:
    """What OpenVINO says that the processor can do."""
    return core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def with_hints(compute_type: str, threads: int, make: Callable[[Hints], Made]) -> Made:
    """What ``make`` makes with the hints for a compute type; 0 threads are all cores. Raises what it does."""
    threads = threads or os.cpu_count() or 1
    try:
        return make(_hints(compute_type, threads))
    except RuntimeError:
        # Where the instructions to round activations on the fly are missing, 8-bit weights alone still run.
        return make(_hints(compute_type, threads, round_activations=False))


def _hints(compute_type: str, threads: int, *, round_activations: bool = True) -> Hints:
    precision = "bf16" if compute_type.endswith("bfloat16") else "f32"
    hints: Hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
        # By default the cache of the self-attention is rounded to 8 bits.
        "KV_CACHE_PRECISION": precision,
    }
    if compute_type.startswith("int8"):
        hints["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = "64" if round_activations else "0"
    return hints


def graph_builder(checkpoint: Checkpoint, compute_type: str) -> GraphBuilder:
    """What builds the networks for a compute type."""
    is_int8 = compute_type.startswith("int8")
    return GraphBuilder(checkpoint, int8=lambda _: is_int8, half=compute_type.endswith("bfloat16"))


def fix_length(encoder: ov.Model, checkpoint: Checkpoint) -> ov.Model:
    """A copy for windows of the full length only."""
    fixed = encoder.clone()
    fixed.reshape({"features": [1, checkpoint.shape.n_mels, 2 * checkpoint.shape.audio_positions]})
    return fixed


def _compile(
    core: ov.Core, checkpoint: Checkpoint, hints: Hints, *, compute_type: str, optimized: Optimized | None
) -> Iterator[ov.CompiledModel]:
    """Encoder and projection, those of any length, decoder; each when it is asked for. Raises RuntimeError."""
    builder = graph_builder(checkpoint, compute_type)
    whole = _read_encoder(core, optimized) if optimized else builder.build_encoder()
    for network in (fix_length(whole, checkpoint), whole):
        for part in split_encoder(network):
            yield core.compile_model(part, "CPU", hints)
    yield core.compile_model(builder.build_decoder(list(checkpoint.alignment_heads)), "CPU", hints)


def _read_encoder(core: ov.Core, optimized: Optimized) -> ov.Model:
    if damage := optimized.damage():
        raise RuntimeError(damage)
    return core.read_model(optimized.network)


def _find_optimized(config: EngineConfig, compute_type: str) -> Optimized | None:
    """The encoder that ``config`` names, where it is for this compute type and nothing stands in its way."""
    if config.optimized is None:
        return None
    try:
        found = read_optimized(config.optimized)
        obstacle = found.obstacle(config.model_path)
    except (OSError, ValueError) as error:
        _tell_unused(config, str(error))
        return None
    if obstacle:
        _tell_unused(config, obstacle)
        return None
    return found if found.about.compute_type == compute_type else None


def _tell_unused(config: EngineConfig, why: str) -> None:
    _log.warning(
        "the optimized encoder of %s is not used: %s; `auricle models optimize` makes a new one",
        *(config.model_name, why),
    )


def _export(models: Iterable[ov.CompiledModel], made: list[ov.CompiledModel]) -> Iterator[memoryview]:
    """What goes to disk of each model, which is put into ``made``."""
    for model in models:
        made.append(model)
        yield model.export_model().getbuffer()


def _take(
    core: ov.Core, cache: CompiledCache | None, key: str, hints: Hints
) -> tuple[list[ov.CompiledModel], Entry | None]:
    """The models of an entry; none where there is no entry, or OpenVINO does not take it."""
    entry = cache.read(key) if cache else None
    if entry is None:
        return [], None
    try:
        tensors = [ov.Tensor(part, shared_memory=True) for part in entry.parts]
        return [core.import_model(tensor, "CPU", hints) for tensor in tensors], entry
    except RuntimeError:
        return [], None
