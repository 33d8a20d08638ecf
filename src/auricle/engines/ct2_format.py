"""Reads the variables of a CTranslate2 model file, so that other engines can run the models that are already on disk.

Layout of ``model.bin`` (binary version 6, ctranslate2/specs/model_spec.py): u32 version, spec name, u32 revision,
u32 count, then for each variable its name, u8 rank, u32 dimensions, u8 type, u32 bytes, data; last, u32 count of
aliases as pairs of names. A string is its u16 length, its bytes and a closing zero that the length counts.
"""

import mmap
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.errors import EngineFailed

_TYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2", 5: "<u2"}
_BFLOAT16 = 5
_VERSION = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Variable:
    """One array of the file, mapped, not read."""

    array: NDArray[Any]
    is_bfloat16: bool

    def to_float32(self) -> NDArray[np.float32]:
        """A float32 copy; bfloat16 is the upper half of a float32."""
        if self.is_bfloat16:
            return (self.array.astype(np.uint32) << 16).view(np.float32)
        return self.array.astype(np.float32)


def read_variables(model_bin: Path) -> dict[str, Variable]:
    """All variables by name, aliases included. Raises EngineFailed for a file that is damaged or of another version."""
    with model_bin.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    reader = _Reader(data)
    try:
        version = reader.number("<I")
        if version != _VERSION:
            raise EngineFailed(f"{model_bin} has format version {version}; only {_VERSION} can be read")
        reader.string()
        reader.number("<I")
        variables: dict[str, Variable] = {}
        for _ in range(reader.number("<I")):
            name = reader.string()
            shape = [reader.number("<I") for _ in range(reader.number("<B"))]
            kind = reader.number("<B")
            array = np.frombuffer(data, _TYPES[kind], reader.number("<I") // np.dtype(_TYPES[kind]).itemsize, reader.at)
            reader.at += array.nbytes
            variables[name] = Variable(array=array.reshape(shape), is_bfloat16=kind == _BFLOAT16)
        for _ in range(reader.number("<I")):
            alias = reader.string()
            variables[alias] = variables[reader.string()]
    except (struct.error, KeyError, ValueError) as error:
        raise EngineFailed(f"{model_bin} is damaged ({error}); remove the model and fetch it again") from error
    return variables


def count_layers(variables: Iterable[str], part: str) -> int:
    """Layers of the ``encoder`` or the ``decoder``, from the names of a model's variables."""
    return len({found[0] for name in variables if (found := re.match(rf"{part}/layer_\d+/", name))})


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
