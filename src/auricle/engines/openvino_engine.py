"""Whisper on OpenVINO (CPU): about twice as fast as CTranslate2 on a CPU, from the same model files."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
# OpenVINO carries no complete types.

from collections.abc import Sequence

import numpy as np
import openvino as ov

from auricle.engines.base import EngineConfig
from auricle.engines.batch_decoding import BatchEngine, describe_model
from auricle.engines.checkpoint import Checkpoint
from auricle.engines.openvino_compile import CompiledWhisper, compile_whisper
from auricle.engines.openvino_decoder import OpenVinoRun
from auricle.engines.openvino_tensors import Cross, copy, size_of, to_float32
from auricle.engines.rules import Floats
from auricle.errors import InvalidOption
from auricle.types import Features

_MAX_BATCH = 8


def load(config: EngineConfig) -> BatchEngine[Cross]:
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
        max_batch=_MAX_BATCH,
        details={
            "openvino": ov.__version__,
            "compiled": "earlier" if model.was_cached else "now",
            "encoder": "optimized" if model.is_optimized else "plain",
        },
    )
    return BatchEngine(OpenVinoNetwork(model), info)


class OpenVinoNetwork:
    """See ``engines.batch_decoding.Network``; of a window it keeps the keys and values of the cross-attention."""

    def __init__(self, model: CompiledWhisper) -> None:
        self._full_length = 2 * model.checkpoint.shape.audio_positions
        self._mapped = model.mapped
        self._encoder = model.encoder.create_infer_request()
        self._short_encoder = model.short_encoder.create_infer_request()
        self._decoder = model.decoder
        layers = range(model.checkpoint.shape.decoder_layers)
        self._names = [name for layer in layers for name in (f"cross_k{layer}", f"cross_v{layer}")]
        self.checkpoint: Checkpoint = model.checkpoint

    def encode(self, features: Features) -> Cross:
        encoder = self._encoder if features.shape[1] == self._full_length else self._short_encoder
        encoder.set_tensor("features", ov.Tensor(features[None]))
        encoder.infer()
        # Copies: the request's own outputs are overwritten by the next row.
        return tuple(copy(encoder.get_tensor(name)) for name in self._names)

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
