"""OpenVINO tensors on the host: copies, joins, and bfloat16, which numpy does not have."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
# OpenVINO carries no complete types.

from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

Cross = list[ov.Tensor]
"""Keys and values of each decoder layer for one window, (1, H, S, d)."""


def bits(tensor: ov.Tensor) -> NDArray[Any]:
    """The tensor's memory as an array; bfloat16 as its 16 bits, since numpy has no such type."""
    return tensor.data.view(np.uint16) if tensor.element_type == ov.Type.bf16 else tensor.data


def to_float32(tensor: ov.Tensor) -> NDArray[np.float32]:
    """The tensor's values; a bfloat16 is the upper half of a float32."""
    held = bits(tensor)
    return (held.astype(np.uint32) << 16).view(np.float32) if held.dtype == np.uint16 else held


def join(tensors: Sequence[ov.Tensor]) -> ov.Tensor:
    """Tensors (1, …) of one shape as one (n, …)."""
    joined = ov.Tensor(tensors[0].element_type, ov.Shape([len(tensors), *list(tensors[0].shape)[1:]]))
    view = bits(joined)
    for index, tensor in enumerate(tensors):
        view[index] = bits(tensor)[0]
    return joined


def pool(windows: Sequence[Cross]) -> list[ov.Tensor]:
    """The tensors of all windows, joined; each window's own become views of them, so that nothing is there twice."""
    joined: list[ov.Tensor] = []
    for part in range(len(windows[0])):
        whole = join([window[part] for window in windows])
        rest = list(whole.shape)[1:]
        for row, window in enumerate(windows):
            window[part] = ov.Tensor(whole, [row, *[0] * len(rest)], [row + 1, *rest])
        joined.append(whole)
    return joined


def size_of(cross: Cross) -> int:
    """Bytes of a window's tensors."""
    return sum(tensor.byte_size for tensor in cross)
