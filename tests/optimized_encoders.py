"""Encoders as ``auricle models optimize`` leaves them, made by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from auricle.engines.openvino_cache import fingerprint
from auricle.engines.optimized import (
    About,
    Figures,
    Optimized,
    keep_optimized,
    openvino_version,
    processor_features,
)
from samples import NANO

COMPUTE_TYPE = "int8_float32"
"""Every processor has it."""


def about_nano(model_path: Path = NANO, **changes: Any) -> About:
    known: dict[str, Any] = {
        "model": "nano",
        "compute_type": COMPUTE_TYPE,
        "made_at": "2026-01-02T03:04:05+00:00",
        "calibration_windows": 20,
        "held_out_windows": 4,
        "plain": Figures(error=0.02, encode_s=0.1),
        "quantized": Figures(error=0.021, encode_s=0.08),
        "fingerprint": fingerprint(model_path),
        "openvino": openvino_version(),
        "processor": processor_features(),
    }
    return About(**known | changes)


def keep_bytes(data_dir: Path, model_path: Path = NANO, content: bytes = b"network", **changes: Any) -> Optimized:
    """Files that are no network."""

    def write(path: Path) -> None:
        path.write_bytes(content)
        path.with_suffix(".bin").write_bytes(b"weights" + content)

    return keep_optimized(about_nano(model_path, **changes), write, model_path=model_path, data_dir=data_dir)


def keep_deaf(data_dir: Path, **changes: Any) -> Optimized:
    """An encoder of nano that hears nothing, whatever it is given."""
    import openvino as ov

    from auricle.engines.checkpoint import Tensor
    from auricle.engines.checkpoint_files import read_checkpoint
    from auricle.engines.openvino_compile import graph_builder

    checkpoint = read_checkpoint(NANO)

    def tensor(name: str) -> Tensor:
        found = checkpoint.tensor(name)
        return Tensor(array=np.zeros_like(found.to_float32())) if name == "encoder.conv1.weight" else found

    network = graph_builder(replace(checkpoint, tensor=tensor), COMPUTE_TYPE).build_encoder()
    return keep_optimized(
        about_nano(**changes),
        lambda path: ov.save_model(network, path, compress_to_fp16=False),
        model_path=NANO,
        data_dir=data_dir,
    )
