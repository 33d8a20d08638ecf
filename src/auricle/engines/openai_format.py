"""Reads a Whisper model in openai/whisper's form: one ``.pt`` file, with a ``tokenizer.json`` beside it.

The file holds the sizes of the model and its tensors by name. It is a pickle, of which PyTorch's restricted reader
takes nothing but tensors and plain values, so a hostile file runs no code. Tensors are mapped.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyTorch's functions carry incomplete types.

import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from auricle.engines.checkpoint import (
    Checkpoint,
    Shape,
    Tensor,
    default_alignment_heads,
    find_language_ids,
    stack_parts,
)
from auricle.engines.folder_format import openai_files
from auricle.engines.openai_facts import alignment_heads, non_speech_tokens
from auricle.errors import EngineFailed
from auricle.tokenizer import Tokenizer

_PARTS = {
    "attention.norm": ("attn_ln",),
    "attention.qkv": ("attn.query", "attn.key", "attn.value"),
    "attention.out": ("attn.out",),
    "cross.norm": ("cross_attn_ln",),
    "cross.query": ("cross_attn.query",),
    "cross.key_value": ("cross_attn.key", "cross_attn.value"),
    "cross.out": ("cross_attn.out",),
    "ffn.norm": ("mlp_ln",),
    "ffn.in": ("mlp.0",),
    "ffn.out": ("mlp.2",),
}
"""Of a layer: our name -> theirs, from top to bottom."""
_SINGLES = {
    "encoder.positions.weight": "encoder.positional_embedding",
    "encoder.norm": "encoder.ln_post",
    "decoder.positions.weight": "decoder.positional_embedding",
    "decoder.embedding": "decoder.token_embedding",
    "decoder.norm": "decoder.ln",
}
_NOT_READ = (
    OSError,
    EOFError,
    MemoryError,
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    pickle.UnpicklingError,
    struct.error,
)
"""What PyTorch's reader raises for files that are damaged, or no such files at all."""

_Tensors = Mapping[str, torch.Tensor]


def read_openai(folder: Path) -> Checkpoint:
    """The model of a folder with one ``.pt`` file.

    The file names neither the heads that words are aligned by nor the tokens that are not speech: the former are known
    by the names of OpenAI's files (``large-v3.pt``), the latter follow from the vocabulary.
    Raises EngineFailed for files that are missing or damaged, or not of a Whisper model.
    """
    names = openai_files(path.name for path in folder.iterdir())
    if len(names) != 1:
        raise EngineFailed(f"{folder} holds {len(names)} .pt files; a model is one")
    path = folder / names[0]
    shape, tensors = _read(path)
    tokenizer = Tokenizer(folder)
    heads = alignment_heads(path.stem)
    if any(layer >= shape.decoder_layers or head >= shape.decoder_heads for layer, head in heads):
        heads = ()  # another model under this name
    return Checkpoint(
        shape=shape,
        alignment_heads=heads or default_alignment_heads(shape),
        language_ids=find_language_ids((), shape.vocabulary),
        suppressed=non_speech_tokens(tokenizer, shape.vocabulary),
        suppressed_first=(*tokenizer.encode(" "), tokenizer.eot),
        tensor=lambda name: _find(tensors, name, path),
    )


def _read(path: Path) -> tuple[Shape, _Tensors]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that it may fail to read: it does, or it does not
            content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except _NOT_READ as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise EngineFailed(f"{path} cannot be read ({reason}); fetch the model again") from error
    try:
        dims, tensors = dict(content["dims"]), dict(content["model_state_dict"])
        _check_tensors(tensors)
        shape = _shape_of({str(name): int(size) for name, size in dims.items()})
        _check_sizes(shape, tensors)
        return shape, tensors
    except (LookupError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise EngineFailed(f"{path} holds no model of openai/whisper: {type(error).__name__} {error}") from error


def _check_tensors(tensors: Mapping[Any, Any]) -> None:
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            raise ValueError("its state holds more than tensors")
        # One number can be stored once and be said to fill a whole tensor.
        if tensor.nbytes > tensor.untyped_storage().nbytes():
            raise ValueError(f"{name} is larger than what is stored of it")


def _check_sizes(shape: Shape, tensors: _Tensors) -> None:
    """That the model is as large as it says, before something is made of this size."""
    sizes = {
        "encoder.conv1.weight": (shape.d_model, shape.n_mels, 3),
        "encoder.positional_embedding": (shape.audio_positions, shape.d_model),
        "decoder.positional_embedding": (shape.text_positions, shape.d_model),
        "decoder.token_embedding.weight": (shape.vocabulary, shape.d_model),
    }
    for name, size in sizes.items():
        if tuple(tensors[name].shape) != size:
            raise ValueError(f"{name} has the shape {tuple(tensors[name].shape)} instead of {size}")
    for stack, layers in (("encoder", shape.encoder_layers), ("decoder", shape.decoder_layers)):
        if f"{stack}.blocks.{layers - 1}.mlp_ln.bias" not in tensors:
            raise ValueError(f"it has fewer than {layers} layers in its {stack}")


def _shape_of(dims: Mapping[str, int]) -> Shape:
    shape = Shape(
        n_mels=dims["n_mels"],
        d_model=dims["n_text_state"],
        encoder_layers=dims["n_audio_layer"],
        encoder_heads=dims["n_audio_head"],
        decoder_layers=dims["n_text_layer"],
        decoder_heads=dims["n_text_head"],
        vocabulary=dims["n_vocab"],
        text_positions=dims["n_text_ctx"],
        audio_positions=dims["n_audio_ctx"],
    )
    if min(dims.values()) < 1:
        raise ValueError("its sizes are not positive")
    if dims["n_audio_state"] != shape.d_model:
        raise ValueError("its encoder and its decoder are of different widths")
    if shape.d_model % shape.encoder_heads or shape.d_model % shape.decoder_heads:
        raise ValueError(f"{shape.d_model} features cannot be shared by its heads")
    return shape


def _find(tensors: _Tensors, name: str, path: Path) -> Tensor:
    """See ``Checkpoint.tensor``."""
    names = _their_names(name)
    try:
        parts = [_mapped(tensors[stored], stored, path) if stored in tensors else None for stored in names]
        found = stack_parts(parts, is_bias=name.endswith(".bias"))
    except ValueError as error:
        raise EngineFailed(f"{path} is damaged: {names[0]} and its neighbours do not fit together ({error})") from error
    if found is None:
        raise EngineFailed(f"{path} has no tensor {names[0]}")
    return found


def _mapped(tensor: torch.Tensor, name: str, path: Path) -> Tensor:
    if tensor.dtype not in (torch.float32, torch.float16, torch.bfloat16) or tensor.layout is not torch.strided:
        raise EngineFailed(f"tensor {name} of {path} is stored as {tensor.dtype}; only floats can be read")
    is_bfloat16 = tensor.dtype is torch.bfloat16
    held: np.ndarray[Any, Any] = (tensor.view(torch.uint16) if is_bfloat16 else tensor).detach().numpy()
    return Tensor(array=held, is_bfloat16=is_bfloat16)


def _their_names(name: str) -> list[str]:
    """``encoder.3.ffn.in.weight`` -> ``encoder.blocks.3.mlp.0.weight``; more names for what is stored in pieces."""
    if name in _SINGLES:
        return [_SINGLES[name]]
    stem, _, kind = name.rpartition(".")
    layer = re.fullmatch(r"(encoder|decoder)\.(\d+)\.(.+)", stem)
    if layer:
        return [f"{layer[1]}.blocks.{layer[2]}.{part}.{kind}" for part in _PARTS[layer[3]]]
    return [f"{_SINGLES.get(stem, stem)}.{kind}"]
