"""How far an engine's encoder is from float32: what the decoder sees of one window, the keys and values."""

from pathlib import Path

import ctranslate2
import numpy as np
from numpy.typing import NDArray

from auricle.engines.base import EngineConfig, go_on
from auricle.engines.ct2_format import read_ct2
from auricle.engines.openvino_engine import load
from auricle.engines.openvino_tensors import to_float32
from auricle.types import DecodingOptions, Features, Row

Floats = NDArray[np.float32]


def encoder_errors(model: Path, compute_type: str, features: Features, threads: int) -> tuple[float, float]:
    """Of openvino and of ct2 in ``compute_type``: the norm of the difference to float32 over the norm of float32.

    ct2's encodings are projected to keys and values in float32, so that its own projection adds nothing to its error.
    """
    exact = _encode_ct2(model, "float32", features, threads)
    theirs = _encode_ct2(model, compute_type, features, threads)
    ours = _encode_openvino(model, compute_type, features, threads)
    return _distance(ours, exact), _distance(theirs, exact)


def _distance(found: Floats, exact: Floats) -> float:
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def _encode_ct2(model: Path, compute_type: str, features: Features, threads: int) -> Floats:
    """(layers, 2 x heads, positions, d)"""
    engine = ctranslate2.models.Whisper(str(model), compute_type=compute_type, intra_threads=threads)
    encoding = np.array(engine.encode(ctranslate2.StorageView.from_array(features[None])))[0]
    checkpoint = read_ct2(model)
    layers: list[Floats] = []
    for layer in range(checkpoint.shape.decoder_layers):
        name = f"decoder.{layer}.cross.key_value"
        weight, bias = (checkpoint.tensor(f"{name}.{kind}").to_float32() for kind in ("weight", "bias"))
        pair = (encoding @ weight.T + bias).reshape(len(encoding), -1, checkpoint.shape.head_size)
        layers.append(pair.transpose(1, 0, 2))
    return np.stack(layers)


def _encode_openvino(model: Path, compute_type: str, features: Features, threads: int) -> Floats:
    """The same."""
    engine = load(
        EngineConfig(
            engine="openvino",
            model_name=model.name,
            model_path=model,
            device="cpu",
            compute_type=compute_type,
            threads=threads,
        )
    )
    cross = engine._encode(Row(key="", features=features, prompt=(), options=DecodingOptions()), go_on)
    tensors = [to_float32(tensor)[0] for tensor in cross]
    return np.stack([np.concatenate(tensors[first : first + 2]) for first in range(0, len(tensors), 2)])
