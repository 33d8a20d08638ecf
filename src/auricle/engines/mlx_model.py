"""Whisper's encoder and decoder on MLX, of any size.

Rows of the decoder are W windows times G hypotheses; the G rows of a window lie side by side and share its
cross-attention, whose keys are read once for all of them.
Architecture: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022).
"""

# pyright: reportUnknownMemberType=false
# MLX's types are not complete.

from collections.abc import Sequence
from dataclasses import dataclass, field

import mlx.core as mx

from auricle.engines.checkpoint import Checkpoint
from auricle.engines.mlx_layers import (
    FeedForward,
    Linear,
    Norm,
    NumberFormat,
    Weights,
    attend,
    merge_heads,
    split_heads,
)

_BLOCK = 64
"""Places by which the cache of the self-attention grows."""

Cross = list[tuple[mx.array, mx.array]]
"""Of each decoder layer the keys and values of the cross-attention, (W, heads, S, d)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SelfAttention:
    """With what it is added to."""

    norm: Norm
    qkv: Linear
    out: Linear
    heads: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncoderLayer:
    attention: SelfAttention
    feed_forward: FeedForward


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecoderLayer:
    attention: SelfAttention
    norm: Norm
    query: Linear
    key_value: Linear
    out: Linear
    feed_forward: FeedForward
    aligned: list[int]
    """Its heads that are good for alignment."""


@dataclass(slots=True)
class SelfCache:
    """Keys and values of one layer's self-attention: (N, heads, places, d), the first ``length`` of them in use."""

    held: list[mx.array] = field(default_factory=list[mx.array])
    length: int = 0

    @property
    def rows(self) -> int:
        return self.held[0].shape[0] if self.held else 0

    def reorder(self, rows: mx.array) -> None:
        """Each row goes on from one of the earlier rows."""
        self.held = [mx.take(array, rows, axis=0) for array in self.held]

    def extend(self, keys: mx.array, values: mx.array) -> list[mx.array]:
        """All keys and values up to the new ones, (N, heads, L, d), which are written in place where there is room."""
        end = self.length + keys.shape[2]
        if not self.held or end > self.held[0].shape[2]:
            n, heads, length, size = keys.shape
            room = (n, heads, -(-length // _BLOCK) * _BLOCK, size)
            earlier = [[array[:, :, : self.length]] for array in self.held] or [[], []]
            self.held = [mx.concatenate([*parts, mx.zeros(room, keys.dtype)], axis=2) for parts in earlier]
        for array, new in zip(self.held, (keys, values), strict=True):
            array[:, :, self.length : end] = new
        self.length = end
        return [array[:, :, :end] for array in self.held]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepOutput:
    """What the decoder says for N rows, not computed yet."""

    logits: mx.array
    """(N, places, vocabulary) float32, at the places that were asked for."""
    queries: list[mx.array]
    """(N, L, heads, d) of the alignment heads of each layer that has some."""


class MlxWhisper:
    """The network of one checkpoint. What it returns is computed when it is evaluated."""

    def __init__(self, checkpoint: Checkpoint, number_format: NumberFormat) -> None:
        shape, weights = checkpoint.shape, Weights(checkpoint, number_format)
        self._dtype = number_format.dtype
        self._heads = shape.decoder_heads
        self._conv1 = weights.convolution("encoder.conv1", stride=1)
        self._conv2 = weights.convolution("encoder.conv2", stride=2)
        self._audio_places = weights.array("encoder.positions.weight")
        self._encoder = [_encoder_layer(weights, layer, shape.encoder_heads) for layer in range(shape.encoder_layers)]
        self._encoder_norm = weights.norm("encoder.norm")
        self._embedding = weights.matrix("decoder.embedding")
        self._text_places = weights.array("decoder.positions.weight")
        self._decoder = [
            _decoder_layer(weights, layer, shape.decoder_heads, checkpoint.alignment_heads)
            for layer in range(shape.decoder_layers)
        ]
        self._decoder_norm = weights.norm("decoder.norm")

    def encode(self, features: mx.array) -> mx.array:
        """Features (n, T, n_mels) -> what is said in these windows (n, S, D), S = T / 2."""
        x = self._conv2(self._conv1(features.astype(self._dtype)))
        x = x + self._audio_places[: x.shape[1]]
        for layer in self._encoder:
            own = layer.attention
            h = attend(*split_heads(own.qkv(own.norm(x)), 3, own.heads))
            x = layer.feed_forward(x + own.out(merge_heads(h)))
        return self._encoder_norm(x)

    def project(self, encoded: mx.array) -> Cross:
        """What the decoder needs of windows that are encoded."""
        cross: Cross = []
        for layer in self._decoder:
            keys, values = split_heads(layer.key_value(encoded), 2, self._heads)
            # They are read in every step.
            cross.append((mx.contiguous(keys), mx.contiguous(values)))
        return cross

    def make_cache(self) -> list[SelfCache]:
        """Of a decoder that has yet to begin."""
        return [SelfCache() for _ in self._decoder]

    def step(self, tokens: mx.array, wanted: Sequence[int], cache: Sequence[SelfCache], cross: Cross) -> StepOutput:
        """Take ``tokens`` (N, L) behind those that are in ``cache``, and answer at the places ``wanted`` of L."""
        (n, length), windows = tokens.shape, len(cross[0][0])
        first = cache[0].length
        x = self._embedding.rows(tokens) + self._text_places[first : first + length]
        queries: list[mx.array] = []
        for layer, own_cache, (keys, values) in zip(self._decoder, cache, cross, strict=True):
            own = layer.attention
            q, k, v = split_heads(own.qkv(own.norm(x)), 3, own.heads)
            h = attend(q, *own_cache.extend(k, v), is_causal=length > 1)
            x = x + own.out(merge_heads(h))

            q = layer.query(layer.norm(x))
            # The hypotheses of a window become positions of one row, so that its keys are read once.
            (grouped,) = split_heads(q.reshape(windows, -1, q.shape[-1]), 1, self._heads)
            h = merge_heads(attend(grouped, keys, values))
            x = layer.feed_forward(x + layer.out(h.reshape(n, length, -1)))
            if layer.aligned:
                queries.append(q.reshape(n, length, self._heads, -1)[:, :, mx.array(layer.aligned)])
        x = self._decoder_norm(x[:, mx.array(list(wanted))])
        return StepOutput(logits=self._embedding.multiply(x).astype(mx.float32), queries=queries)


def _self_attention(weights: Weights, name: str, heads: int) -> SelfAttention:
    return SelfAttention(
        norm=weights.norm(f"{name}.norm"),
        qkv=weights.linear(f"{name}.qkv"),
        out=weights.linear(f"{name}.out"),
        heads=heads,
    )


def _encoder_layer(weights: Weights, layer: int, heads: int) -> EncoderLayer:
    name = f"encoder.{layer}"
    return EncoderLayer(
        attention=_self_attention(weights, f"{name}.attention", heads), feed_forward=weights.feed_forward(f"{name}.ffn")
    )


def _decoder_layer(
    weights: Weights, layer: int, heads: int, alignment_heads: Sequence[tuple[int, int]]
) -> DecoderLayer:
    name = f"decoder.{layer}"
    return DecoderLayer(
        attention=_self_attention(weights, f"{name}.attention", heads),
        norm=weights.norm(f"{name}.cross.norm"),
        query=weights.linear(f"{name}.cross.query"),
        key_value=weights.linear(f"{name}.cross.key_value"),
        out=weights.linear(f"{name}.cross.out"),
        feed_forward=weights.feed_forward(f"{name}.ffn"),
        aligned=[head for at, head in alignment_heads if at == layer],
    )
