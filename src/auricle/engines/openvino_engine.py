"""Whisper on OpenVINO (CPU): about twice as fast as CTranslate2 on a CPU, from the same model files."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
# OpenVINO carries no complete types.

from collections.abc import Sequence

import numpy as np
import openvino as ov

from auricle.engines.base import EngineConfig
from auricle.engines.batch_decoding import BatchEngine, describe_model
from auricle.engines.checkpoint import Checkpoint, Shape
from auricle.engines.openvino_compile import CompiledEncoder, CompiledWhisper, compile_whisper
from auricle.engines.openvino_decoder import OpenVinoRun
from auricle.engines.openvino_tensors import Cross, size_of, to_float32
from auricle.engines.rules import Floats
from auricle.engines.window_cache import BATCH_BYTES
from auricle.errors import InvalidOption
from auricle.types import Features

_LEAST_BATCH = 2
_MAX_BATCH = {2: 8, 4: 4}
"""By bytes of a value: in float32 four windows take as long each as eight (base, 8-bit weights, AVX2)."""


def load(config: EngineConfig) -> BatchEngine[ov.Tensor, Cross]:
    """Load the model of ``config`` from a folder in CTranslate2 or Hugging Face form.

    Raises InvalidOption for a device or compute type that is not to be had, EngineFailed for a damaged file.
    """
    if config.device not in {"auto", "cpu"}:
        raise InvalidOption(f"engine 'openvino' runs on the cpu, not on {config.device!r}", param="device")
    model = compile_whisper(config)
    info = describe_model(
        config,
        model.checkpoint,
        device="cpu",
        compute_type=model.compute_type,
        max_batch=rows_within(model.checkpoint.shape, model.cross_type.size),
        details={
            "openvino": ov.__version__,
            "compiled": "earlier" if model.was_cached else "now",
            "encoder": "optimized" if model.is_optimized else "plain",
        },
    )
    return BatchEngine(OpenVinoNetwork(model), info)


def rows_within(shape: Shape, itemsize: int) -> int:
    """Windows of a batch. Those of large models take 250 to 500 MB each, and nearly all of their time is the encoder's,
    which gains nothing from a batch."""
    return max(_LEAST_BATCH, min(_MAX_BATCH[itemsize], BATCH_BYTES // (shape.cross_values * itemsize)))


class OpenVinoNetwork:
    """See ``engines.batch_decoding.Network``."""

    def __init__(self, model: CompiledWhisper) -> None:
        self._positions = model.checkpoint.shape.audio_positions
        self._mapped = model.mapped
        self._full, self._short = model.full, model.short
        self._decoder = model.decoder
        layers = range(model.checkpoint.shape.decoder_layers)
        self._names = [name for layer in layers for name in (f"cross_k{layer}", f"cross_v{layer}")]
        self.checkpoint: Checkpoint = model.checkpoint

    def encode(self, features: Features) -> ov.Tensor:
        # A request of the window's own, which leaves its outputs to it; another one would overwrite or hold them.
        request = self._compiled_for(features.shape[1] // 2).encoder.create_infer_request()
        request.set_tensor("features", ov.Tensor(features[None]))
        request.infer()
        return request.get_tensor("encoded")

    def project(self, encoded: ov.Tensor) -> Cross:
        request = self._compiled_for(encoded.shape[1]).projection.create_infer_request()
        request.set_tensor("encoded", encoded)
        request.infer()
        return [request.get_tensor(name) for name in self._names]

    def _compiled_for(self, positions: int) -> CompiledEncoder:
        return self._full if positions == self._positions else self._short

    def size_of(self, window: Cross) -> int:
        return size_of(window)

    def begin(self, windows: Sequence[Cross]) -> OpenVinoRun:
        return OpenVinoRun(self._decoder, windows)

    def alignment_keys(self, window: Cross, positions: int) -> Floats:
        heads = self.checkpoint.alignment_heads
        return np.stack([to_float32(window[2 * layer])[0, head, :positions] for layer, head in heads])

    def end_batch(self) -> None:
        if self._mapped is not None:
            # Weights are packed when they are first used; what they were packed from is not read again.
            self._mapped.forget_pages()
