"""Reads a model in CTranslate2 form, so that other engines can run the models that are already on disk.

Layout of ``model.bin`` (binary version 6, ctranslate2/specs/model_spec.py): u32 version, spec name, u32 revision,
u32 count, then for each variable its name, u8 rank, u32 dimensions, u8 type, u32 bytes, data; last, u32 count of
aliases as pairs of names. A string is its u16 length, its bytes and a closing zero that the length counts.
"""

import json
import mmap
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from auricle.engines.checkpoint import Checkpoint, Shape, Tensor, default_alignment_heads, find_language_ids
from auricle.errors import EngineFailed

_TYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2", 5: "<u2"}
_BFLOAT16 = 5
_VERSION = 6

_PARTS = {
    "attention.norm": "self_attention/layer_norm",
    "attention.qkv": "self_attention/linear_0",
    "attention.out": "self_attention/linear_1",
    "cross.norm": "attention/layer_norm",
    "cross.query": "attention/linear_0",
    "cross.key_value": "attention/linear_1",
    "cross.out": "attention/linear_2",
    "ffn.norm": "ffn/layer_norm",
    "ffn.in": "ffn/linear_0",
    "ffn.out": "ffn/linear_1",
}
"""Of a layer: our name -> theirs."""
_SINGLES = {
    "encoder.positions.weight": "encoder/position_encodings/encodings",
    "decoder.positions.weight": "decoder/position_encodings/encodings",
    "decoder.embedding.weight": "decoder/embeddings/weight",
}


def read_ct2(folder: Path) -> Checkpoint:
    """The model of a folder. Raises EngineFailed for files that are missing or damaged."""
    try:
        config = cast("dict[str, Any]", json.loads((folder / "config.json").read_text("utf-8")))
        variables = read_variables(folder / "model.bin")
        shape = _read_shape(variables)
        heads = cast("list[list[int]]", config.get("alignment_heads") or [])
        return Checkpoint(
            shape=shape,
            alignment_heads=tuple(sorted((int(layer), int(head)) for layer, head in heads))
            or default_alignment_heads(shape),
            language_ids=find_language_ids(config.get("lang_ids") or (), shape.vocabulary),
            suppressed=tuple(config.get("suppress_ids") or ()),
            suppressed_first=tuple(config.get("suppress_ids_begin") or ()),
            tensor=lambda name: _find_tensor(variables, name, folder),
        )
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise EngineFailed(f"{folder} holds no CTranslate2 Whisper model: {type(error).__name__} {error}") from error


def read_variables(model_bin: Path) -> dict[str, Tensor]:
    """All variables by name, aliases included, mapped into memory.

    Raises EngineFailed for a file that is damaged or of another version.
    """
    with model_bin.open("rb") as file:
        # Private pages that could be written: OpenVINO takes no others without a copy.
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    reader = _Reader(data)
    try:
        version = reader.number("<I")
        if version != _VERSION:
            raise EngineFailed(f"{model_bin} has format version {version}; only {_VERSION} can be read")
        reader.string()
        reader.number("<I")
        variables: dict[str, Tensor] = {}
        for _ in range(reader.number("<I")):
            name = reader.string()
            shape = [reader.number("<I") for _ in range(reader.number("<B"))]
            kind = reader.number("<B")
            array = np.frombuffer(data, _TYPES[kind], reader.number("<I") // np.dtype(_TYPES[kind]).itemsize, reader.at)
            reader.at += array.nbytes
            variables[name] = Tensor(array=array.reshape(shape), is_bfloat16=kind == _BFLOAT16)
        for _ in range(reader.number("<I")):
            alias = reader.string()
            variables[alias] = variables[reader.string()]
    except (struct.error, KeyError, ValueError) as error:
        raise EngineFailed(f"{model_bin} is damaged ({error}); remove the model and fetch it again") from error
    return variables


def count_layers(variables: Iterable[str], part: str) -> int:
    """Layers of the ``encoder`` or the ``decoder``, from the names of a model's variables."""
    return len({found[0] for name in variables if (found := re.match(rf"{part}/layer_\d+/", name))})


def _find_tensor(variables: Mapping[str, Tensor], name: str, folder: Path) -> Tensor:
    """See ``Checkpoint.tensor``."""
    stored = _their_name(name)
    found = variables.get(stored)
    if found is None:
        raise EngineFailed(f"the model in {folder} has no variable {stored}")
    factor = variables.get(f"{stored}_scale")
    return found if factor is None else replace(found, factor=factor.to_float32())


def _their_name(name: str) -> str:
    """``encoder.3.ffn.norm.weight`` -> ``encoder/layer_3/ffn/layer_norm/gamma``."""
    if name in _SINGLES:
        return _SINGLES[name]
    stem, _, kind = name.rpartition(".")
    layer = re.fullmatch(r"(encoder|decoder)\.(\d+)\.(.+)", stem)
    stored = f"{layer[1]}/layer_{layer[2]}/{_PARTS[layer[3]]}" if layer else stem.replace(".norm", ".layer_norm")
    if stored.endswith("layer_norm"):
        kind = {"weight": "gamma", "bias": "beta"}[kind]
    return f"{stored.replace('.', '/')}/{kind}"


def _read_shape(variables: Mapping[str, Tensor]) -> Shape:
    vocabulary, d_model = variables["decoder/embeddings/weight"].array.shape
    return Shape(
        n_mels=variables["encoder/conv1/weight"].array.shape[1],
        d_model=d_model,
        encoder_layers=count_layers(variables, "encoder"),
        encoder_heads=int(variables["encoder/num_heads"].array),
        decoder_layers=count_layers(variables, "decoder"),
        decoder_heads=int(variables["decoder/num_heads"].array),
        vocabulary=vocabulary,
        text_positions=len(variables["decoder/position_encodings/encodings"].array),
        audio_positions=len(variables["encoder/position_encodings/encodings"].array),
    )


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.at = 0

    def number(self, layout: str) -> int:
        (value,) = struct.unpack_from(layout, self._data, self.at)
        self.at += struct.calcsize(layout)
        return value

    def string(self) -> str:
        size = self.number("<H")
        text = self._data[self.at : self.at + size]
        self.at += size
        return text.rstrip(b"\0").decode("utf-8", errors="replace")
