"""The layers of Whisper as MLX arrays, in one number format, from the weights of a checkpoint."""

# pyright: reportUnknownMemberType=false
# MLX's types are not complete.

import math
from dataclasses import dataclass
from typing import Protocol

import mlx.core as mx

from auricle.engines.checkpoint import Checkpoint

_EPSILON = 1e-5
_GROUP = 64
"""Weights that share a step and an offset where they are quantized; it divides the widths of all Whisper models."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NumberFormat:
    """What is computed in, and how many bits the weights of products have where they are quantized."""

    dtype: mx.Dtype
    bits: int | None = None


class Matrix(Protocol):
    """A matrix (rows, columns)."""

    def multiply(self, x: mx.array, bias: mx.array | None = None) -> mx.array:
        """(…, columns) -> (…, rows)."""
        ...

    def rows(self, ids: mx.array) -> mx.array:
        """(…) -> (…, columns)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class PlainMatrix:
    """See Matrix."""

    weight: mx.array

    def multiply(self, x: mx.array, bias: mx.array | None = None) -> mx.array:
        return x @ self.weight.T if bias is None else mx.addmm(bias, x, self.weight.T)

    def rows(self, ids: mx.array) -> mx.array:
        return self.weight[ids]


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedMatrix:
    """See Matrix; each group of a row has a step and an offset of its own."""

    weight: mx.array
    steps: mx.array
    offsets: mx.array
    bits: int

    def multiply(self, x: mx.array, bias: mx.array | None = None) -> mx.array:
        y = mx.quantized_matmul(
            x, self.weight, self.steps, self.offsets, transpose=True, group_size=_GROUP, bits=self.bits
        )
        return y if bias is None else y + bias

    def rows(self, ids: mx.array) -> mx.array:
        return mx.dequantize(self.weight[ids], self.steps[ids], self.offsets[ids], group_size=_GROUP, bits=self.bits)


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """A product with a bias."""

    matrix: Matrix
    bias: mx.array

    def __call__(self, x: mx.array) -> mx.array:
        return self.matrix.multiply(x, self.bias)


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    """Normalises the last axis."""

    weight: mx.array
    bias: mx.array

    def __call__(self, x: mx.array) -> mx.array:
        return mx.fast.layer_norm(x, self.weight, self.bias, _EPSILON)


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """Of three frames, with a GELU behind it: (n, T, channels) -> (n, T / stride, channels)."""

    weight: mx.array
    bias: mx.array
    stride: int

    def __call__(self, x: mx.array) -> mx.array:
        return gelu(mx.conv1d(x, self.weight, stride=self.stride, padding=1) + self.bias)


@dataclass(frozen=True, slots=True, eq=False)
class FeedForward:
    """What a layer ends with."""

    norm: Norm
    first: Linear
    second: Linear

    def __call__(self, x: mx.array) -> mx.array:
        return x + self.second(gelu(self.first(self.norm(x))))


class Weights:
    """Makes layers from a checkpoint, by the names of ``engines.checkpoint``.

    Each array is converted when it is asked for, so that only one at a time is there in another format too.
    """

    def __init__(self, checkpoint: Checkpoint, number_format: NumberFormat) -> None:
        self._tensor = checkpoint.tensor
        self._format = number_format

    def array(self, name: str) -> mx.array:
        array = mx.array(self._tensor(name).to_float32()).astype(self._format.dtype)
        mx.eval(array)
        return array

    def matrix(self, name: str) -> Matrix:
        """Raises ValueError where its rows cannot be quantized in groups."""
        weight = self.array(f"{name}.weight")
        if self._format.bits is None:
            return PlainMatrix(weight)
        packed, steps, offsets = mx.quantize(weight, group_size=_GROUP, bits=self._format.bits)
        mx.eval(packed, steps, offsets)
        return QuantizedMatrix(packed, steps, offsets, self._format.bits)

    def linear(self, name: str) -> Linear:
        return Linear(self.matrix(name), self.array(f"{name}.bias"))

    def norm(self, name: str) -> Norm:
        return Norm(self.array(f"{name}.weight"), self.array(f"{name}.bias"))

    def convolution(self, name: str, *, stride: int) -> Convolution:
        # MLX has the channels last.
        weight = mx.contiguous(self.array(f"{name}.weight").transpose(0, 2, 1))
        return Convolution(weight, self.array(f"{name}.bias"), stride)

    def feed_forward(self, name: str) -> FeedForward:
        return FeedForward(self.norm(f"{name}.norm"), self.linear(f"{name}.in"), self.linear(f"{name}.out"))


def gelu(x: mx.array) -> mx.array:
    """Exact, with the error function, as Whisper was trained."""
    return x * (1 + mx.erf(x * math.sqrt(0.5))) * 0.5


def attend(q: mx.array, k: mx.array, v: mx.array, *, is_causal: bool = False) -> mx.array:
    """(n, heads, L, d) with keys and values (n, heads, S, d) -> (n, heads, L, d).

    ``is_causal``: the last query sees all keys, each one before it a key less.
    """
    return mx.fast.scaled_dot_product_attention(
        q, k, v, scale=q.shape[-1] ** -0.5, mask="causal" if is_causal else None
    )


def split_heads(x: mx.array, parts: int, heads: int) -> list[mx.array]:
    """(n, L, parts x D) -> as many (n, heads, L, d)."""
    n, length, _ = x.shape
    return [part.reshape(n, length, heads, -1).transpose(0, 2, 1, 3) for part in mx.split(x, parts, axis=-1)]


def merge_heads(x: mx.array) -> mx.array:
    """(n, heads, L, d) -> (n, L, D)."""
    n, _, length, _ = x.shape
    return x.transpose(0, 2, 1, 3).reshape(n, length, -1)
