"""Reads a Whisper model in Hugging Face form: ``config.json``, ``generation_config.json`` and safetensors files.

Layout of a safetensors file: u64 length of a header, the header as JSON (name -> type, shape, first and last byte
behind the header), data. It is mapped, so a tensor costs memory only while it is looked at; bfloat16, which numpy
does not have, stays as its bits. https://huggingface.co/docs/safetensors
"""

import json
import math
import mmap
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from auricle.engines.checkpoint import (
    Checkpoint,
    Shape,
    Tensor,
    default_alignment_heads,
    find_language_ids,
    stack_parts,
)
from auricle.engines.folder_format import weight_files
from auricle.errors import EngineFailed

_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_MAX_HEADER_BYTES = 100_000_000
"""The format's own limit."""

_PARTS = {
    "attention.norm": ("self_attn_layer_norm",),
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.out": ("self_attn.out_proj",),
    "cross.norm": ("encoder_attn_layer_norm",),
    "cross.query": ("encoder_attn.q_proj",),
    "cross.key_value": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "cross.out": ("encoder_attn.out_proj",),
    "ffn.norm": ("final_layer_norm",),
    "ffn.in": ("fc1",),
    "ffn.out": ("fc2",),
}
"""Of a layer: our name -> theirs, from top to bottom."""
_SINGLES = {"norm": "layer_norm", "positions": "embed_positions", "embedding": "embed_tokens"}


def read_hf(folder: Path) -> Checkpoint:
    """The model of a folder. Raises EngineFailed for files that are missing, damaged, or not of a Whisper model."""
    config = _read_json(folder / "config.json")
    # Older models have no generation_config.json; what it says is then in config.json, or has a default.
    path = folder / "generation_config.json"
    generation = config | (_read_json(path) if path.is_file() else {})
    source = _Files(tensors=_read_tensors(folder), folder=folder)
    try:
        shape = _read_shape(config, source)
        languages = cast("dict[str, int]", generation.get("lang_to_id") or {})
        return Checkpoint(
            shape=shape,
            alignment_heads=_pairs(generation.get("alignment_heads")) or default_alignment_heads(shape),
            language_ids=find_language_ids(_ids(languages.values()), shape.vocabulary),
            suppressed=_ids(generation.get("suppress_tokens")),
            suppressed_first=_ids(generation.get("begin_suppress_tokens")),
            tensor=source.tensor,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EngineFailed(f"the configuration in {folder} cannot be used: {type(error).__name__} {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    tensors: dict[str, Tensor]
    folder: Path

    def tensor(self, name: str) -> Tensor:
        """See ``Checkpoint.tensor``."""
        stem, _, kind = name.rpartition(".")
        names = _their_names(stem)
        found = stack_parts([self._one(f"{stored}.{kind}") for stored in names], is_bias=kind == "bias")
        if found is None:
            raise EngineFailed(f"{self.folder} has no tensor {names[0]}.{kind}; its download may be incomplete")
        return found

    def _one(self, name: str) -> Tensor | None:
        # A model that was saved without its last layer, which only repeats the embedding, has no prefix.
        return self.tensors.get(f"model.{name}") or self.tensors.get(name)


def _their_names(stem: str) -> list[str]:
    """``encoder.3.ffn.in`` -> ``encoder.layers.3.fc1``; three names for what is stored in three pieces."""
    layer = re.fullmatch(r"(encoder|decoder)\.(\d+)\.(.+)", stem)
    if layer:
        return [f"{layer[1]}.layers.{layer[2]}.{part}" for part in _PARTS[layer[3]]]
    stack, _, part = stem.partition(".")
    return [f"{stack}.{_SINGLES.get(part, part)}"]


def _read_shape(config: dict[str, Any], source: _Files) -> Shape:
    if config.get("model_type") != "whisper":
        raise EngineFailed(f"{source.folder} holds a {config.get('model_type')!r} model; only 'whisper' can be run")
    if config.get("activation_function", "gelu") != "gelu" or config.get("scale_embedding"):
        raise EngineFailed(f"{source.folder} is a changed kind of Whisper (its activation or its embedding)")
    vocabulary, d_model = source.tensor("decoder.embedding.weight").array.shape
    shape = Shape(
        n_mels=source.tensor("encoder.conv1.weight").array.shape[1],
        d_model=d_model,
        encoder_layers=int(config["encoder_layers"]),
        encoder_heads=int(config["encoder_attention_heads"]),
        decoder_layers=int(config["decoder_layers"]),
        decoder_heads=int(config["decoder_attention_heads"]),
        vocabulary=vocabulary,
        text_positions=len(source.tensor("decoder.positions.weight").array),
        audio_positions=len(source.tensor("encoder.positions.weight").array),
    )
    if d_model % shape.encoder_heads or d_model % shape.decoder_heads:
        raise ValueError(f"{d_model} features cannot be shared by {shape.decoder_heads} heads")
    return shape


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    try:
        names = weight_files(folder)
    except (OSError, ValueError) as error:
        raise EngineFailed(f"{folder} holds no weights that can be read: {error}") from error
    tensors: dict[str, Tensor] = {}
    for name in names:
        tensors |= read_safetensors(folder / name)
    return tensors


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file by name, mapped. Raises EngineFailed for one that is missing, damaged or quantized."""
    try:
        with path.open("rb") as file:
            # Private pages that could be written: OpenVINO takes no others without a copy.
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        (length,) = struct.unpack_from("<Q", data)
        if length > min(_MAX_HEADER_BYTES, len(data) - 8):
            raise ValueError("its header is longer than the file")
        header = cast("dict[str, Any]", json.loads(data[8 : 8 + length]))
        return {
            name: _map_tensor(data, 8 + length, name, entry) for name, entry in header.items() if name != "__metadata__"
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise EngineFailed(f"{path} is damaged ({error}); fetch the model again") from error


def _map_tensor(data: mmap.mmap, first: int, name: str, entry: dict[str, Any]) -> Tensor:
    kind, shape = str(entry["dtype"]), [int(size) for size in entry["shape"]]
    begin, end = (int(place) for place in entry["data_offsets"])
    if kind not in _TYPES:
        raise EngineFailed(f"tensor {name} is stored as {kind}; only {', '.join(_TYPES)} can be read")
    count = math.prod(shape)
    if not 0 <= begin <= end <= len(data) - first or end - begin != count * np.dtype(_TYPES[kind]).itemsize:
        raise ValueError(f"{name} lies outside of the file")
    array = np.frombuffer(data, _TYPES[kind], count, first + begin)
    return Tensor(array=array.reshape(shape), is_bfloat16=kind == "BF16")


def _ids(tokens: Iterable[int] | None) -> tuple[int, ...]:
    return tuple(int(token) for token in tokens or ())


def _pairs(value: object) -> tuple[tuple[int, int], ...]:
    pairs = cast("list[list[int]]", value or [])
    return tuple(sorted((int(layer), int(head)) for layer, head in pairs))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise EngineFailed(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise EngineFailed(f"{path} holds no object")
    return cast("dict[str, Any]", content)
