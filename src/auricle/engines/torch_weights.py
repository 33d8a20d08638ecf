"""Puts the weights of a checkpoint into a Whisper, layer by layer; rounds them to 8 bits where that is asked for."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingImports=false
# PyTorch's functions carry incomplete types; torchao is optional.

from collections.abc import Callable
from itertools import groupby
from typing import Literal

import torch
from torch import nn

from auricle.engines import checkpoint as files
from auricle.engines.torch_model import Whisper
from auricle.errors import EngineFailed, EngineNotInstalled

Quantize = Literal["off", "int8", "fp8"]
Quantizer = Callable[[nn.Module], None]
"""Rounds the weights of all products in a module."""

_BLOCK = 1 << 22
"""Entries that are converted at a time."""


def fill(
    model: Whisper,
    checkpoint: files.Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    quantizer: Quantizer | None = None,
) -> None:
    """Give all parameters their values.

    Norms stay float32. So does the decoder on a processor: a step of eight rows takes 1.8 times as long in bfloat16
    (PyTorch 2.13, processor with bfloat16 products), while a window takes two thirds of the time to encode.
    Raises EngineFailed where a tensor is missing or of another shape.
    """
    names = [name for name, _ in model.named_parameters()]
    for part, own in groupby(names, _layer_of):
        for name in own:
            exact = ".norm." in name or (device.type == "cpu" and name.startswith("decoder."))
            wanted = model.get_parameter(name).shape
            values = _load(checkpoint, name, wanted, torch.float32 if exact else dtype, device)
            module, _, leaf = name.rpartition(".")
            model.get_submodule(module).register_parameter(leaf, nn.Parameter(values, requires_grad=False))
        if quantizer is not None and ".layers." in part:
            quantizer(model.get_submodule(part))


def find_quantizer(kind: Quantize) -> Quantizer | None:
    """What rounds weights to ``kind``. Raises EngineNotInstalled without torchao."""
    if kind == "off":
        return None
    try:
        from torchao import quantization  # noqa: PLC0415 - optional
    except ImportError as error:
        raise EngineNotInstalled(
            f"weights can be kept in {kind} with the package torchao only, which cannot be imported ({error}); "
            "install it with: pip install torchao"
        ) from error
    config = quantization.Int8WeightOnlyConfig() if kind == "int8" else quantization.Float8WeightOnlyConfig()

    def round_weights(module: nn.Module) -> None:
        quantization.quantize_(module, config)

    return round_weights


def stored_name(name: str) -> str:
    """What ``engines.checkpoint`` calls a parameter of ``torch_model``."""
    return name.replace(".layers.", ".").replace(".ffn.wide.", ".ffn.in.")


def _layer_of(name: str) -> str:
    """``encoder.layers.3.ffn.out.weight`` -> ``encoder.layers.3``; what lies in no layer is a part of its own."""
    stack, layers, rest = name.partition(".layers.")
    return stack + layers + rest.partition(".")[0] if layers else name


def _load(
    checkpoint: files.Checkpoint, name: str, wanted: torch.Size, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    tensor = checkpoint.tensor(stored_name(name))
    if tensor.array.shape != tuple(wanted):
        raise EngineFailed(
            f"tensor {stored_name(name)} has the shape {tensor.array.shape} instead of {tuple(wanted)}; "
            "the model's files do not belong together"
        )
    values = torch.empty(wanted, dtype=dtype, device=device)
    rows = max(1, _BLOCK // max(1, wanted[1:].numel()))
    for first in range(0, wanted[0], rows):
        part = slice(first, first + rows)
        factor = None if tensor.factor is None else tensor.factor[part]
        piece = files.Tensor(array=tensor.array[part], is_bfloat16=tensor.is_bfloat16, factor=factor)
        values[part] = _to_torch(piece).to(device)
    return values


def _to_torch(tensor: files.Tensor) -> torch.Tensor:
    """In the format that it is stored in; integers, which are multiples of a row's step, as float32."""
    if tensor.factor is not None:
        return torch.from_numpy(tensor.to_float32())
    array = tensor.array if tensor.array.flags.aligned and tensor.array.flags.writeable else tensor.array.copy()
    held = torch.from_numpy(array)
    return held.view(torch.bfloat16) if tensor.is_bfloat16 else held
