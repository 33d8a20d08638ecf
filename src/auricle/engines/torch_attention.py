"""How the rows of a decoder's step look at the keys and values of their slots."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyTorch's functions carry incomplete types.

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_MASK_MULTIPLE = 8
"""Rows of a mask begin at such places: CUDA's kernels would copy any other mask, in every layer."""

FlashStep = Callable[..., Tensor]
"""``flash_attn.flash_attn_with_kvcache``."""

Parts = list[tuple[slice, slice]] | Tensor
"""Rows, and the neighbouring slots in which they live; or a tensor of slots that are gathered first."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What the rows see, by PyTorch's own attention."""

    parts: Parts
    positions: int
    """Of a slot's places, how many are looked at."""
    bias: Tensor | None
    """(n, 1, t or 1, positions), added to the scores."""

    def attend(self, queries: Tensor, held: Tensor) -> Tensor:
        """queries (n, t, heads, size), held (2, slots, heads, places, size) -> (n, t, heads * size)."""
        q, held, parts = queries.transpose(1, 2), held[:, :, :, : self.positions], self.parts
        if isinstance(parts, Tensor):
            held, parts = held.index_select(1, parts), [(slice(None), slice(None))]
        done = [
            functional.scaled_dot_product_attention(
                q[rows], held[0, slots], held[1, slots], attn_mask=None if self.bias is None else self.bias[rows]
            )
            for rows, slots in parts
        ]
        return (done[0] if len(done) == 1 else torch.cat(done)).transpose(1, 2).flatten(2)


@dataclass(frozen=True, slots=True, eq=False)
class FlashView:
    """What rows of one token see, by flash-attn: each reads no more than it sees, where it lies."""

    run: FlashStep
    slots: Tensor | None
    """int32 (n,); None where row i lives in slot i."""
    seen: Tensor
    """Places of each row, int32 (n,)."""

    def attend(self, queries: Tensor, held: Tensor) -> Tensor:
        """As ``View.attend``."""
        keys, values = (part if self.slots is not None else part[: len(queries)] for part in held.transpose(2, 3))
        found = self.run(queries, keys, values, cache_seqlens=self.seen, cache_batch_idx=self.slots)
        return found.flatten(2)


def split_rows(slots: Tensor | None, n: int) -> Parts:
    """How ``n`` rows find their slots: as views where that is possible without waiting for the device."""
    if slots is None:
        return [(slice(0, n), slice(0, n))]
    return list(_neighbours(slots.tolist())) if slots.device.type == "cpu" else slots


def make_bias(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to scores: nothing where ``seen``, else minus infinity."""
    width = seen.shape[-1]
    aligned = -(-width // _MASK_MULTIPLE) * _MASK_MULTIPLE
    bias = torch.zeros((*seen.shape[:-1], aligned), dtype=dtype, device=seen.device)[..., :width]
    return bias.masked_fill_(~seen, float("-inf"))


def _neighbours(slots: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    """Runs of rows whose slots follow one another, with these slots."""
    first = 0
    for row in range(1, len(slots) + 1):
        if row == len(slots) or slots[row] != slots[row - 1] + 1:
            yield slice(first, row), slice(slots[first], slots[row - 1] + 1)
            first = row
