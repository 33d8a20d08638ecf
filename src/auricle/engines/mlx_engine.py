"""Whisper on MLX: the GPU of Apple Silicon (Metal), and the CPU.

``auto`` computes in float16 on the GPU and in float32 on the CPU; 8- and 4-bit weights have a step and an offset for
every 64 of them.
"""

# pyright: reportUnknownMemberType=false
# MLX's types are not complete.

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version

import mlx.core as mx
import numpy as np
import psutil

from auricle.engines.base import EngineConfig
from auricle.engines.batch_decoding import BatchEngine, describe_model
from auricle.engines.checkpoint import Checkpoint, Shape
from auricle.engines.checkpoint_files import read_checkpoint
from auricle.engines.heap import give_freed_memory_back
from auricle.engines.mlx_layers import NumberFormat
from auricle.engines.mlx_model import Cross, MlxWhisper, StepOutput
from auricle.engines.rules import Floats
from auricle.errors import EngineFailed, EngineOutOfMemory, InvalidOption
from auricle.types import Features, ModelInfo

_TYPES = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16}
_BITS = {"int8": 8, "int4": 4}
_MAX_BATCH = 8
_SHARE_OF_MEMORY = 8
"""The windows of a batch get one such part of the machine's memory at most."""
_CACHE_BYTES = 256 * 2**20
"""Freed memory that MLX keeps for the next arrays; without a limit it keeps all of it."""
_TEST_FRAMES = 200


def load(config: EngineConfig) -> BatchEngine[mx.array, Cross]:
    """Load the model of ``config`` from a folder in CTranslate2 or Hugging Face form.

    Raises InvalidOption for a device or compute type that is not to be had here, EngineFailed for a damaged file,
    EngineOutOfMemory where the weights do not fit.
    """
    device = choose_device(config.device)
    names = settle_compute_type(config.compute_type, device)
    mx.set_default_device(mx.gpu if device == "mps" else mx.cpu)
    mx.set_cache_limit(_CACHE_BYTES)
    mx.set_memory_limit(psutil.virtual_memory().total * 3 // 4)
    try:
        checkpoint = read_checkpoint(config.model_path)
    except EngineFailed as error:
        raise EngineFailed(f"{config.model_name} cannot be loaded: {error.message}") from error
    failures: list[str] = []
    for name in names:
        try:
            with _memory_errors(f"{config.model_name} in {name}"):
                network = MlxNetwork(checkpoint, _number_format(name))
                _try_out(network)
        except (RuntimeError, ValueError, OverflowError) as error:
            failures.append(f"{name} ({error})")
            continue
        mx.clear_cache()
        give_freed_memory_back()
        return BatchEngine(network, _describe(config, checkpoint, device, name))
    raise InvalidOption(
        f"the {device} cannot run {config.model_name} in this number format: {'; '.join(failures)}",
        param="compute_type",
    )


def choose_device(asked: str) -> str:
    """``mps`` (the GPU of an Apple chip) or ``cpu``. Raises InvalidOption for others, and where there is none."""
    has_gpu = mx.metal.is_available()
    if asked == "auto":
        return "mps" if has_gpu else "cpu"
    if asked not in {"cpu", "mps"}:
        raise InvalidOption(f"engine 'mlx' runs on mps or the cpu, not on {asked!r}", param="device")
    if asked == "mps" and not has_gpu:
        raise InvalidOption("engine 'mlx' finds no GPU for mps: that needs Apple Silicon and macOS", param="device")
    return asked


def settle_compute_type(asked: str, device: str) -> list[str]:
    """What ``asked`` means on a device: full names, the preferred one first. Raises InvalidOption for others."""
    usual = ["float16", "float32"] if device == "mps" else ["float32"]
    if asked in {"auto", "default"}:
        return usual
    bits, _, rest = asked.partition("_")
    if bits in _BITS and (rest in _TYPES or asked == bits):
        return [f"{bits}_{rest or usual[0]}"]
    if asked in _TYPES:
        return [asked]
    known = ", ".join([*_TYPES, *_BITS, *(f"{bits}_{rest}" for bits in _BITS for rest in _TYPES)])
    raise InvalidOption(f"engine 'mlx' has no compute type {asked!r}; it has {known}", param="compute_type")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MlxAnswer:
    """See ``engines.batch_search.Answer``."""

    logits: Floats
    output: StepOutput

    @property
    def queries(self) -> Floats:
        """Computed when they are asked for; most steps need none."""
        return _to_numpy(mx.concatenate(self.output.queries, axis=2))


class MlxRun:
    """See ``engines.batch_search.DecoderRun``."""

    def __init__(self, model: MlxWhisper, windows: Sequence[Cross]) -> None:
        self._model = model
        self._cache = model.make_cache()
        self._cross = windows[0] if len(windows) == 1 else _join(windows)

    def keep(self, windows: Sequence[int]) -> None:
        left = mx.array(list(windows))
        self._cross = [(mx.take(keys, left, axis=0), mx.take(values, left, axis=0)) for keys, values in self._cross]

    def step(
        self, tokens: Sequence[Sequence[int]], wanted: Sequence[int], came_from: Sequence[int] | None = None
    ) -> MlxAnswer:
        with _memory_errors(f"a step of {len(tokens)} rows"):
            if came_from is not None and list(came_from) != list(range(self._cache[0].rows)):
                rows = mx.array(list(came_from))
                for cache in self._cache:
                    cache.reorder(rows)
            ids = mx.array([list(row) for row in tokens])
            output = self._model.step(ids, wanted, self._cache, self._cross)
            return MlxAnswer(logits=_to_numpy(output.logits), output=output)


class MlxNetwork:
    """See ``engines.batch_decoding.Network``."""

    def __init__(self, checkpoint: Checkpoint, number_format: NumberFormat) -> None:
        self._model = MlxWhisper(checkpoint, number_format)
        self.checkpoint = checkpoint

    def encode(self, features: Features) -> mx.array:
        with _memory_errors("a window"):
            encoded = self._model.encode(mx.array(features.T[None]))
            mx.eval(encoded)
            return encoded

    def project(self, encoded: mx.array) -> Cross:
        with _memory_errors("a window"):
            cross = self._model.project(encoded)
            mx.eval(cross)
            return cross

    def size_of(self, window: Cross) -> int:
        return sum(keys.nbytes + values.nbytes for keys, values in window)

    def begin(self, windows: Sequence[Cross]) -> MlxRun:
        return MlxRun(self._model, windows)

    def alignment_keys(self, window: Cross, positions: int) -> Floats:
        return np.stack(
            [_to_numpy(window[layer][0][0, head, :positions]) for layer, head in self.checkpoint.alignment_heads]
        )

    def end_batch(self) -> None:
        """Nothing: freed memory is bounded by MLX itself."""


def rows_that_fit(shape: Shape, memory_bytes: int, itemsize: int) -> int:
    """Windows of a batch that a machine has room for: those of large models take 250 to 500 MB each."""
    # Twice: as they are kept, and joined for the batch.
    return max(1, min(_MAX_BATCH, memory_bytes // _SHARE_OF_MEMORY // (2 * shape.cross_values * itemsize)))


def _describe(config: EngineConfig, checkpoint: Checkpoint, device: str, compute_type: str) -> ModelInfo:
    itemsize = _number_format(compute_type).dtype.size
    return describe_model(
        config,
        checkpoint,
        device=device,
        compute_type=compute_type,
        max_batch=rows_that_fit(checkpoint.shape, psutil.virtual_memory().total, itemsize),
        details={"mlx": version("mlx")},
    )


def _number_format(name: str) -> NumberFormat:
    bits, _, rest = name.rpartition("_")
    return NumberFormat(dtype=_TYPES[rest], bits=_BITS.get(bits))


def _try_out(network: MlxNetwork) -> None:
    """Encode and decode a little: what the device cannot compute raises here, and not in the first request."""
    shape = network.checkpoint.shape
    noise = np.random.default_rng(0).standard_normal((shape.n_mels, _TEST_FRAMES), np.float32)
    window = network.project(network.encode(noise))
    run = network.begin([window, window])
    answers = [run.step([[0, 1], [2, 3]], [0, 1]), run.step([[4], [5]], [0], [1, 0])]
    if not all(np.isfinite(answer.logits).all() for answer in answers):
        raise OverflowError("its numbers overflow")


def _join(windows: Sequence[Cross]) -> Cross:
    """Windows, one each, as one array a layer."""
    return [
        (mx.concatenate([keys for keys, _ in layer]), mx.concatenate([values for _, values in layer]))
        for layer in zip(*windows, strict=True)
    ]


def _to_numpy(array: mx.array) -> Floats:
    """A copy on the host; numpy has no bfloat16."""
    return np.array(array.astype(mx.float32), np.float32)


@contextmanager
def _memory_errors(what: str) -> Generator[None]:
    """Tells the errors of MLX's allocators from others; all have its name in their text."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, MemoryError) or "malloc" in str(error):
            raise EngineOutOfMemory(f"{what} needs more memory than there is: {error}") from error
        raise
