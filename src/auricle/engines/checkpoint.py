"""A Whisper model's weights and configuration under one set of names, whichever files they lie in.

Names of layers, each with ``.weight`` and mostly ``.bias``::

    encoder.conv1  encoder.conv2  encoder.positions  encoder.norm
    encoder.N.attention.norm  encoder.N.attention.qkv  encoder.N.attention.out
    encoder.N.ffn.norm  encoder.N.ffn.in  encoder.N.ffn.out
    decoder.embedding  decoder.positions  decoder.norm
    decoder.N.…  as in the encoder, and decoder.N.cross.norm  .query  .key_value  .out

``qkv`` and ``key_value`` are projections on top of each other, with zeros for the bias that Whisper's keys lack.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_OTHER_TOKENS, _FIRST_LANGUAGE, _LEAST_LANGUAGES = 51_766, 50_259, 99
_BLOCK = 1 << 20
"""Entries that are converted at a time: what is made on the way stays in the processor's caches."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tensor:
    """One array as it is stored; mapped, not read, where it lies in a file in one piece."""

    array: NDArray[Any]
    """float32, float16, int8, int16, or the bits of bfloat16 as uint16."""
    is_bfloat16: bool = False
    factor: Floats | None = None
    """Of integers: what each row was multiplied by."""

    def to_float32(self) -> Floats:
        """The values; a copy unless they are stored like that. A bfloat16 is the upper half of a float32."""
        if self.is_bfloat16:
            values = (self.array.astype(np.uint32) << 16).view(np.float32)
        else:
            values = self.array.astype(np.float32, copy=not self.array.flags.aligned)
        if self.factor is not None:
            values = values / self.factor.reshape(-1, *[1] * (values.ndim - 1))
        return values

    def to_int8(self) -> tuple[NDArray[np.int8], Floats]:
        """8-bit rows, as they are stored or rounded now, and the step of each row (rows, 1)."""
        if self.factor is not None and self.array.dtype == np.int8:
            return self.array, (1.0 / self.factor).astype(np.float32)[:, None]
        if self.factor is not None:
            return Tensor(array=self.to_float32()).to_int8()
        rounded = np.empty(self.array.shape, np.int8)
        steps = np.empty((len(self.array), 1), np.float32)
        count = max(1, _BLOCK // self.array.shape[1])
        for first in range(0, len(self.array), count):
            part = slice(first, first + count)
            rows = Tensor(array=self.array[part], is_bfloat16=self.is_bfloat16).to_float32()
            steps[part] = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-10) / 127
            rounded[part] = np.rint(rows / steps[part])
        return rounded, steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a model."""

    n_mels: int
    d_model: int
    encoder_layers: int
    encoder_heads: int
    decoder_layers: int
    decoder_heads: int
    vocabulary: int
    text_positions: int
    audio_positions: int

    @property
    def head_size(self) -> int:
        return self.d_model // self.decoder_heads

    @property
    def cross_values(self) -> int:
        """Keys and values of one full window, which every step of the decoder reads."""
        return 2 * self.decoder_layers * self.audio_positions * self.d_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What an engine needs of a model's files."""

    shape: Shape
    alignment_heads: tuple[tuple[int, int], ...]
    """(decoder layer, head), ordered."""
    language_ids: tuple[int, ...]
    """Tokens of the languages in the vocabulary's order; empty for English-only models."""
    suppressed: tuple[int, ...]
    """Tokens that ``suppress_tokens=-1`` stands for."""
    suppressed_first: tuple[int, ...]
    """Tokens that no text begins with."""
    tensor: Callable[[str], Tensor]
    """The tensor of a name from this module's list. Raises EngineFailed where the files lack it."""


def stack_parts(parts: Sequence[Tensor | None], *, is_bias: bool) -> Tensor | None:
    """Projections that are stored one by one, on top of each other; None where one of them is missing.

    Of biases, those that are missing are zeros: Whisper's keys have none.
    """
    found = [part for part in parts if part is not None]
    if not found or (len(found) < len(parts) and not is_bias):
        return None
    if len(parts) == 1:
        return found[0]
    if is_bias:
        zeros = np.zeros(found[0].array.shape, np.float32)
        return Tensor(array=np.concatenate([zeros if part is None else part.to_float32() for part in parts]))
    if len({(part.array.dtype, part.is_bfloat16) for part in found}) > 1:
        return Tensor(array=np.concatenate([part.to_float32() for part in found]))
    return Tensor(array=np.concatenate([part.array for part in found]), is_bfloat16=found[0].is_bfloat16)


def default_alignment_heads(shape: Shape) -> tuple[tuple[int, int], ...]:
    """Where a model names none: all heads of the upper half of the decoder, as in openai/whisper."""
    layers = range(shape.decoder_layers // 2, shape.decoder_layers)
    return tuple((layer, head) for layer in layers for head in range(shape.decoder_heads))


def find_language_ids(named: Iterable[int], vocabulary: int) -> tuple[int, ...]:
    """Tokens of the languages: those that the model names, else those of its vocabulary's size.

    English-only models, whose vocabulary has one token less, know none, whatever their files say; in the others the
    languages come behind the start of transcript, and every one makes the vocabulary larger (openai/whisper's
    ``model.py``).
    """
    count = vocabulary - _OTHER_TOKENS
    if count < _LEAST_LANGUAGES:
        return ()
    return tuple(sorted(named)) or tuple(range(_FIRST_LANGUAGE, _FIRST_LANGUAGE + count))
