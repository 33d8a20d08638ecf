"""Whisper in PyTorch: the modules, and the keys and values that the decoder keeps for each slot.

Every row lives in a slot and has its own position, so rows may join, leave and branch at any step. ``step`` with one
token a row reads and writes memory of fixed places and never waits for the device: it can be captured as a CUDA graph.
Names of parameters follow ``engines.checkpoint``. Run everything under ``torch.inference_mode``.
Architecture: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyTorch's functions carry incomplete types.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from auricle.engines.checkpoint import Shape
from auricle.engines.torch_attention import FlashStep, FlashView, View, make_bias, split_rows

_FEW_ROWS = 4
"""So many rows at most are multiplied faster from the side of the matrix on a CPU (two: in a quarter of the time)."""


@dataclass(frozen=True, slots=True, eq=False)
class SlotCache:
    """What the decoder remembers of each slot."""

    own: Tensor
    """Keys and values of the self-attention, (layers, 2, slots, heads, text positions, head size)."""
    cross: Tensor
    """Keys and values of the windows, (layers, 2, slots, heads, audio positions, head size)."""
    cross_lengths: Tensor
    """Audio positions of each slot's window that count, int64 (slots,)."""

    @classmethod
    def allocate(cls, shape: Shape, slots: int, dtype: torch.dtype, device: torch.device) -> "SlotCache":
        """All slots, filled with zeros: what is not written yet is masked, but must be finite."""
        sizes = (shape.decoder_layers, 2, slots, shape.decoder_heads)
        own = torch.zeros((*sizes, shape.text_positions, shape.head_size), dtype=dtype, device=device)
        cross = torch.zeros((*sizes, shape.audio_positions, shape.head_size), dtype=dtype, device=device)
        lengths = torch.full((slots,), shape.audio_positions, dtype=torch.int64, device=device)
        return cls(own=own, cross=cross, cross_lengths=lengths)

    @property
    def self_keys(self) -> Tensor:
        """(layers, slots, heads, text positions, head size)."""
        return self.own[:, 0]

    @property
    def self_values(self) -> Tensor:
        """As ``self_keys``."""
        return self.own[:, 1]

    @property
    def cross_keys(self) -> Tensor:
        """(layers, slots, heads, audio positions, head size)."""
        return self.cross[:, 0]

    @property
    def cross_values(self) -> Tensor:
        """As ``cross_keys``."""
        return self.cross[:, 1]

    def put_cross(self, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Write the windows (layers, n, heads, positions, head size) that ``Whisper.cross`` gave into ``slots`` (n,).

        Their positions may be fewer than the cache has. For several slots of one window, expand it.
        """
        length = keys.shape[3]
        self.cross[:, 0, slots, :, :length] = keys
        self.cross[:, 1, slots, :, :length] = values
        self.cross_lengths.index_fill_(0, slots, length)

    def copy_self(self, from_slots: Tensor, to_slots: Tensor, length: int | None = None) -> None:
        """Have ``to_slots`` (n,) go on from the first ``length`` positions of ``from_slots`` (n,); they may overlap."""
        held = self.own[:, :, :, :, :length]
        held[:, :, to_slots] = held[:, :, from_slots]


class Whisper(nn.Module):
    """Encoder and decoder; parameters are empty until ``torch_load`` gives them values."""

    def __init__(
        self, shape: Shape, alignment_heads: Sequence[tuple[int, int]], flash: FlashStep | None = None
    ) -> None:
        super().__init__()
        self.shape = shape
        self.alignment_heads = tuple(alignment_heads)
        self.flash: FlashStep | None = None
        """Takes the place of PyTorch's attention in steps of one token."""
        with torch.device("meta"):
            self.encoder = _Encoder(shape)
            self.decoder = _Decoder(shape)

    @property
    def dtype(self) -> torch.dtype:
        """Of the decoder, its keys and values; the encoder may have another."""
        return self.decoder.positions.weight.dtype

    def encode(self, features: Tensor) -> Tensor:
        """features (n, n_mels, frames) of any format -> (n, frames / 2, d_model) in the encoder's."""
        encoder = self.encoder
        x = functional.gelu(encoder.conv1(features.to(encoder.conv1.weight.dtype)))
        x = functional.gelu(encoder.conv2(x)).transpose(1, 2)
        x = x + encoder.positions.weight[: x.shape[1]]
        for layer in encoder.blocks():
            q, k, v = _heads(layer.attention.qkv(layer.attention.norm(x)), 3, self.shape.encoder_heads)
            h = functional.scaled_dot_product_attention(q, k, v)
            x = x + layer.attention.out(h.transpose(1, 2).flatten(2))
            x = x + layer.ffn(x)
        return encoder.norm(x)

    def cross(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """What the decoder attends to of ``encode``'s answer: keys, values (layers, n, heads, positions, head size)."""
        n, positions, _ = encoded.shape
        encoded = encoded.to(self.dtype)
        heads, size = self.shape.decoder_heads, self.shape.head_size
        pairs = encoded.new_empty(2, self.shape.decoder_layers, n, heads, positions, size)
        for number, layer in enumerate(self.decoder.blocks()):
            for own, part in zip(pairs[:, number], _heads(layer.cross.key_value(encoded), 2, heads), strict=True):
                own.copy_(part)
        return pairs[0], pairs[1]

    def step(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: SlotCache,
        slots: Tensor | None = None,
        *,
        length: int | None = None,
        context: int | None = None,
        short: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Take tokens (n, t) at ``positions`` (n, t), both int64; row i lives in slot ``slots[i]``, or in slot i.

        Returns hidden (n, t, d_model) after the last norm, and the queries of the alignment heads (n, t, A, head size).

        Each token's keys and values are written at its position; it sees its row's positions up to its own. Rows may
        begin anywhere. Where they are of different lengths, padding goes behind the tokens: either at the positions
        that follow, where the row's next steps overwrite it before they look there, or at position -1, which stands
        for the cache's last place and is overwritten in the same way. Empty slots of a step are position -1 too.

        ``length`` is how many own positions are looked at, ``context`` how many of the window's (None: all there are);
        both are fixed in a graph. ``short`` says that a slot's window may be shorter than ``context``.
        """
        n, t = tokens.shape
        shape, decoder = self.shape, self.decoder
        places = positions % shape.text_positions
        rows = (torch.arange(n, device=tokens.device) if slots is None else slots)[:, None]
        look = _Look(length or shape.text_positions, context or shape.audio_positions, short)
        own_view, cross_view = self._views(places, cache, slots, look)
        x = decoder.embedding(tokens) + decoder.positions(places)
        queries: list[Tensor] = []
        for number, layer in enumerate(decoder.blocks()):
            qkv = layer.attention.qkv(layer.attention.norm(x)).view(n, t, 3, shape.decoder_heads, shape.head_size)
            own = cache.own[number]
            own[:, rows, :, places] = qkv[:, :, 1:]
            x = x + layer.attention.out(own_view.attend(qkv[:, :, 0], own))
            query = layer.cross.query(layer.cross.norm(x)).view(n, t, shape.decoder_heads, shape.head_size)
            x = x + layer.cross.out(cross_view.attend(query, cache.cross[number]))
            x = x + layer.ffn(x)
            queries.append(query)
        aligned = torch.stack([queries[number][:, :, head] for number, head in self.alignment_heads], dim=2)
        return decoder.norm(x), aligned

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden (…, d_model) -> float32 (…, vocabulary).

        They are summed up in float32 and stay so: rounded to 8 bits, the best two would often be equal.
        """
        weight = self.decoder.embedding.weight
        rows = hidden.reshape(-1, weight.shape[1])
        if hidden.is_cuda and weight.dtype != torch.float32 and hasattr(torch.ops.aten.mm, "dtype"):
            found = torch.mm(rows, weight.t(), out_dtype=torch.float32)  # pyright: ignore[reportCallIssue]
        elif hidden.device.type == "cpu" and len(rows) <= _FEW_ROWS:
            found = torch.mm(weight, rows.t()).t().contiguous()
        else:
            found = functional.linear(rows, weight).float()
        return found.view(*hidden.shape[:-1], -1)

    def _views(
        self, places: Tensor, cache: SlotCache, slots: Tensor | None, look: "_Look"
    ) -> tuple[View | FlashView, View | FlashView]:
        """What rows see of their own positions, and of their windows."""
        device, dtype = places.device, cache.own.dtype
        n, t = places.shape
        windows = cache.cross_lengths[:n] if slots is None else cache.cross_lengths[slots]
        if self.flash is not None and t == 1:
            of_rows = None if slots is None else slots.int()
            return (
                FlashView(run=self.flash, slots=of_rows, seen=(places[:, 0] + 1).int()),
                FlashView(run=self.flash, slots=of_rows, seen=windows.int()),
            )
        parts = split_rows(slots, n)
        seen = torch.arange(look.length, device=device) <= places[:, None, :, None]
        masked = torch.arange(look.context, device=device) < windows[:, None, None, None] if look.short else None
        return (
            View(parts=parts, positions=look.length, bias=make_bias(seen, dtype)),
            View(parts=parts, positions=look.context, bias=None if masked is None else make_bias(masked, dtype)),
        )


class _Look(NamedTuple):
    """See ``Whisper.step``."""

    length: int
    context: int
    short: bool


class _Norm(nn.LayerNorm):
    """In float32 whatever the model's format."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of the base class
        return super().forward(input.float()).to(input.dtype)


class _Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = _Norm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)


class _Cross(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = _Norm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)


class _FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = _Norm(width)
        self.wide = nn.Linear(width, 4 * width)
        self.out = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(functional.gelu(self.wide(self.norm(x))))


class _Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = _Attention(width)
        self.ffn = _FeedForward(width)


class _DecoderLayer(_Layer):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.cross = _Cross(width)


class _Encoder(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(shape.n_mels, shape.d_model, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(shape.d_model, shape.d_model, kernel_size=3, stride=2, padding=1)
        self.positions = nn.Embedding(shape.audio_positions, shape.d_model)
        self.layers = nn.ModuleList(_Layer(shape.d_model) for _ in range(shape.encoder_layers))
        self.norm = _Norm(shape.d_model)

    def blocks(self) -> Iterator[_Layer]:
        return cast("Iterator[_Layer]", iter(self.layers))


class _Decoder(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.vocabulary, shape.d_model)
        self.positions = nn.Embedding(shape.text_positions, shape.d_model)
        self.layers = nn.ModuleList(_DecoderLayer(shape.d_model) for _ in range(shape.decoder_layers))
        self.norm = _Norm(shape.d_model)

    def blocks(self) -> Iterator[_DecoderLayer]:
        return cast("Iterator[_DecoderLayer]", iter(self.layers))


def _heads(fused: Tensor, parts: int, heads: int) -> Sequence[Tensor]:
    """(n, T, parts x D) -> as many views (n, heads, T, size)."""
    split: Any = fused.unflatten(2, (parts, heads, -1))
    return split.permute(2, 0, 3, 1, 4).unbind(0)
