"""Whisper's decoder on OpenVINO while it decodes one batch: its inference request, and how far it has come."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
# OpenVINO carries no complete types.

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from auricle.engines.openvino_tensors import Cross, join, pool

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenVinoAnswer:
    """See ``engines.batch_search.Answer``; its memory is the request's own."""

    logits: Floats
    queries: Floats


class OpenVinoRun:
    """See ``engines.batch_search.DecoderRun``."""

    def __init__(self, decoder: ov.CompiledModel, windows: Sequence[Cross]) -> None:
        # A request whose state is reset and grown anew with other rows gives NaN (2026.4); a fresh one costs little.
        self._request = decoder.create_infer_request()
        self._length = 0
        self._windows = windows
        self._give(windows[0] if len(windows) == 1 else pool(windows))

    def keep(self, windows: Sequence[int]) -> None:
        left = self._windows = [self._windows[number] for number in windows]
        self._give(left[0] if len(left) == 1 else [join(parts) for parts in zip(*left, strict=True)])

    def _give(self, cross: Cross) -> None:
        """All windows, or those that are left, one behind the other."""
        for number, tensor in enumerate(cross):
            self._request.set_tensor(f"cross_{'kv'[number % 2]}{number // 2}", tensor)

    def step(
        self, tokens: Sequence[Sequence[int]], wanted: Sequence[int], came_from: Sequence[int] | None = None
    ) -> OpenVinoAnswer:
        rows, length = len(tokens), len(tokens[0])
        inputs: dict[str, NDArray[Any]] = {
            "tokens": np.array(tokens, np.int32),
            "positions": np.arange(self._length, self._length + length, dtype=np.int32),
            "beam_idx": np.arange(rows, dtype=np.int32) if came_from is None else np.array(came_from, np.int32),
            "mask": self._mask(rows, length),
            "wanted": np.array(wanted, np.int32),
        }
        for name, array in inputs.items():
            self._request.set_tensor(name, ov.Tensor(array))
        self._request.infer()
        self._length += length
        tensors = [self._request.get_tensor(name).data for name in ("logits", "queries")]
        return OpenVinoAnswer(logits=tensors[0], queries=tensors[1])

    def _mask(self, rows: int, length: int) -> Floats:
        """(N, 1, L, all places): no token sees a later one.

        The same mask is given for every row: one that is stretched over the rows is applied to the first row only
        where bfloat16 is used (2026.4), and the prompts of the others were wrong.
        """
        mask = np.zeros((rows, 1, length, self._length + length), np.float32)
        mask[..., self._length :] = np.triu(np.full((length, length), -math.inf, np.float32), 1)
        return mask
