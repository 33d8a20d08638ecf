"""Whisper's encoder and decoder as OpenVINO models, built operation by operation from a CTranslate2 model file.

Encoder: features (B, n_mels, T) -> keys and values of the cross-attention, two tensors (B, H, T / 2, d) a layer.
Decoder: tokens (N, L) with cached self-attention -> log-probabilities of the next token at the positions asked for.
Rows of the decoder are W windows times G hypotheses; the G rows of a window lie side by side and share its
cross-attention tensors, which are read once for all of them.
Architecture: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportGeneralTypeIssues=false
# OpenVINO's operations carry no complete types.

from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset15 as ops
from openvino.op.util import Variable as StateVariable
from openvino.op.util import VariableInfo

from auricle.engines.ct2_format import Variable, count_layers

Node = Any
"""An OpenVINO node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a model, read from its variables."""

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


def read_shape(variables: dict[str, Variable]) -> Shape:
    """The sizes of a Whisper model."""

    conv = variables["encoder/conv1/weight"].array
    vocabulary, d_model = variables["decoder/embeddings/weight"].array.shape
    return Shape(
        n_mels=conv.shape[1],
        d_model=d_model,
        encoder_layers=count_layers(variables, "encoder"),
        encoder_heads=int(variables["encoder/num_heads"].array),
        decoder_layers=count_layers(variables, "decoder"),
        decoder_heads=int(variables["decoder/num_heads"].array),
        vocabulary=vocabulary,
        text_positions=variables["decoder/position_encodings/encodings"].array.shape[0],
        audio_positions=variables["encoder/position_encodings/encodings"].array.shape[0],
    )


class GraphBuilder:
    """Builds the two models of one set of weights.

    ``int8`` keeps the weights of all products in 8 bits with a scale a row, as they are in the file or rounded anew.
    ``half`` passes the cross-attention tensors as bfloat16.
    """

    def __init__(self, variables: dict[str, Variable], *, int8: bool, half: bool) -> None:
        self.shape = read_shape(variables)
        self._variables = variables
        self._int8 = int8
        self._cross_type = ov.Type.bf16 if half else ov.Type.f32

    def build_encoder(self) -> ov.Model:
        """features (B, n_mels, T) float32 -> cross_k0, cross_v0, cross_k1 … (B, H, T / 2, d)."""
        shape = self.shape
        features = _parameter([-1, shape.n_mels, -1], ov.Type.f32, "features")
        x = self._convolution(features, "encoder/conv1", stride=1)
        x = self._convolution(x, "encoder/conv2", stride=2)
        x = ops.transpose(x, _integers([0, 2, 1]))
        length = ops.gather(ops.shape_of(x), _integers([1]), _integers(0))
        places = self._array("encoder/position_encodings/encodings")
        x = ops.add(x, ops.slice(ops.constant(places), _integers([0]), length, _integers([1]), _integers([0])))
        for layer in range(shape.encoder_layers):
            name = f"encoder/layer_{layer}"
            h = self._norm(x, f"{name}/self_attention/layer_norm")
            q, k, v = self._split(self._linear(h, f"{name}/self_attention/linear_0"), 3, shape.encoder_heads)
            h = _merge(_attend(q, k, v, shape.d_model // shape.encoder_heads))
            x = ops.add(x, self._linear(h, f"{name}/self_attention/linear_1"))
            x = ops.add(x, self._feed_forward(x, f"{name}/ffn"))
        x = self._norm(x, "encoder/layer_norm")
        outputs: list[Node] = []
        for layer in range(shape.decoder_layers):
            pair = self._linear(x, f"decoder/layer_{layer}/attention/linear_1")
            for kind, tensor in zip("kv", self._split(pair, 2, shape.decoder_heads), strict=True):
                outputs.append(_result(ops.convert(tensor, self._cross_type), f"cross_{kind}{layer}"))
        return ov.Model(outputs, [features], "whisper_encoder")

    def build_decoder(self, alignment_heads: list[tuple[int, int]]) -> ov.Model:
        """One step, or a whole prompt, of N = W x G rows with state.

        Inputs: tokens (N, L) i32; positions (L,) i32; beam_idx (N,) i32, the row of the last call that each row
        continues; mask (L, P + L) float32, added to the scores of the self-attention over P earlier positions;
        wanted (P',) i32, the places in L whose answer is asked for; bias (P', vocabulary) float32, added to the
        logits there; cross_k0 … (W, H, S, d).
        Outputs: logprobs (N, P', vocabulary); queries (N, L, A, d), of the alignment heads.
        """
        shape, d = self.shape, self.shape.head_size
        tokens = _parameter([-1, -1], ov.Type.i32, "tokens")
        positions = _parameter([-1], ov.Type.i32, "positions")
        beam_idx = _parameter([-1], ov.Type.i32, "beam_idx")
        mask = _parameter([-1, -1], ov.Type.f32, "mask")
        wanted = _parameter([-1], ov.Type.i32, "wanted")
        bias = _parameter([-1, shape.vocabulary], ov.Type.f32, "bias")
        parameters = [tokens, positions, beam_idx, mask, wanted, bias]
        sinks: list[Node] = []
        queries: list[Node] = []
        embeddings = self._weight("decoder/embeddings")
        places = ops.constant(self._array("decoder/position_encodings/encodings"))
        x = ops.add(ops.gather(embeddings, tokens, _integers(0)), ops.gather(places, positions, _integers(0)))
        rows_and_length = ops.shape_of(tokens)
        rows = ops.gather(rows_and_length, _integers([0]), _integers(0))
        empty = ops.concat([rows, _integers([shape.decoder_heads, 0, d])], 0)
        flat = ops.concat([rows_and_length, _integers([shape.d_model])], 0)
        for layer in range(shape.decoder_layers):
            name = f"decoder/layer_{layer}"
            h = self._norm(x, f"{name}/self_attention/layer_norm")
            q, k, v = self._split(self._linear(h, f"{name}/self_attention/linear_0"), 3, shape.decoder_heads)
            k, v = (_cache(new, f"{kind}{layer}", empty, beam_idx, sinks) for kind, new in (("k", k), ("v", v)))
            h = _merge(_attend(q, k, v, d, mask))
            x = ops.add(x, self._linear(h, f"{name}/self_attention/linear_1"))

            h = self._norm(x, f"{name}/attention/layer_norm")
            q = self._linear(h, f"{name}/attention/linear_0")
            cross = [
                _parameter([-1, shape.decoder_heads, -1, d], self._cross_type, f"cross_{kind}{layer}") for kind in "kv"
            ]
            parameters += cross
            windows = ops.gather(ops.shape_of(cross[0]), _integers([0]), _integers(0))
            # The hypotheses of a window become positions of one row, so that its keys are read once.
            grouped = ops.reshape(q, ops.concat([windows, _integers([-1, shape.decoder_heads, d])], 0), False)
            k, v = (ops.convert(tensor, ov.Type.f32) for tensor in cross)
            h = _attend(ops.transpose(grouped, _integers([0, 2, 1, 3])), k, v, d)
            h = ops.reshape(ops.transpose(h, _integers([0, 2, 1, 3])), flat, False)
            x = ops.add(x, self._linear(h, f"{name}/attention/linear_2"))
            x = ops.add(x, self._feed_forward(x, f"{name}/ffn"))

            heads = [head for at, head in alignment_heads if at == layer]
            if heads:
                by_head = ops.reshape(q, _integers([0, 0, shape.decoder_heads, d]), True)
                queries.append(ops.gather(by_head, _integers(heads), _integers(2)))
        x = self._norm(ops.gather(x, wanted, _integers(1)), "decoder/layer_norm")
        logits = ops.add(ops.matmul(x, embeddings, False, True), bias)
        logprobs = ops.log_softmax(logits, -1)
        outputs = [_result(logprobs, "logprobs"), _result(ops.concat(queries, 2), "queries")]
        return ov.Model(outputs, sinks, parameters, "whisper_decoder")

    def _array(self, name: str) -> NDArray[np.float32]:
        return self._variables[name].to_float32()

    def _dequantized(self, name: str) -> NDArray[np.float32]:
        """``name/weight`` in float32; CTranslate2 stores 8-bit weights with the factor that they were multiplied by."""
        weight = self._array(f"{name}/weight")
        scale = self._variables.get(f"{name}/weight_scale")
        if scale is None:
            return weight
        return weight / scale.to_float32().reshape(-1, *[1] * (weight.ndim - 1))

    def _weight(self, name: str) -> Node:
        if not self._int8:
            return ops.constant(self._dequantized(name))
        stored, factor = self._variables[f"{name}/weight"].array, self._variables.get(f"{name}/weight_scale")
        if factor is not None and stored.dtype == np.int8:
            rounded, step = stored, 1.0 / factor.to_float32()
        else:
            weight = self._dequantized(name)
            step = np.maximum(np.abs(weight).max(axis=1), 1e-10) / 127
            rounded = np.round(weight / step[:, None]).astype(np.int8)
        return ops.multiply(
            ops.convert(ops.constant(np.ascontiguousarray(rounded)), ov.Type.f32),
            ops.constant(step.astype(np.float32)[:, None]),
        )

    def _linear(self, x: Node, name: str) -> Node:
        return ops.add(ops.matmul(x, self._weight(name), False, True), ops.constant(self._array(f"{name}/bias")))

    def _norm(self, x: Node, name: str) -> Node:
        normal = ops.mvn(x, _integers([-1]), True, 1e-5, "inside_sqrt")
        scaled = ops.multiply(normal, ops.constant(self._array(f"{name}/gamma")))
        return ops.add(scaled, ops.constant(self._array(f"{name}/beta")))

    def _feed_forward(self, x: Node, name: str) -> Node:
        h = self._linear(self._norm(x, f"{name}/layer_norm"), f"{name}/linear_0")
        return self._linear(ops.gelu(h, "erf"), f"{name}/linear_1")

    def _convolution(self, x: Node, name: str, *, stride: int) -> Node:
        y = ops.convolution(x, ops.constant(self._dequantized(name)), [stride], [1], [1], [1])
        return ops.gelu(ops.add(y, ops.constant(self._array(f"{name}/bias")[None, :, None])), "erf")

    def _split(self, fused: Node, parts: int, heads: int) -> list[Node]:
        """(B, L, parts x D) -> as many (B, H, L, d)."""
        split = ops.split(fused, _integers(-1), parts)
        return [
            ops.transpose(ops.reshape(split.output(i), _integers([0, 0, heads, -1]), True), _integers([0, 2, 1, 3]))
            for i in range(parts)
        ]


def _attend(q: Node, k: Node, v: Node, head_size: int, mask: Node | None = None) -> Node:
    # The plug-in would apply a scale of the attention to all keys, in every step; the queries are far fewer.
    q = ops.multiply(q, ops.constant(np.float32(head_size**-0.5)))
    bias = ops.constant(np.zeros((1, 1), np.float32)) if mask is None else mask
    return ops.scaled_dot_product_attention(q, k, v, bias, ops.constant(np.float32(1.0)), False)


def _merge(x: Node) -> Node:
    """(B, H, L, d) -> (B, L, D)."""
    return ops.reshape(ops.transpose(x, _integers([0, 2, 1, 3])), _integers([0, 0, -1]), True)


def _cache(new: Node, name: str, empty: Node, beam_idx: Node, sinks: list[Node]) -> Node:
    """``new`` behind what earlier calls left, whose rows are reordered by ``beam_idx``."""
    info = VariableInfo()
    info.data_shape = new.output(0).partial_shape
    info.data_type = ov.Type.f32
    info.variable_id = name
    state = StateVariable(info)
    past = ops.read_value(ops.broadcast(ops.constant(np.float32(0)), empty), state)
    joined = ops.concat([ops.gather(past, beam_idx, _integers(0)), new], 2)
    sinks.append(ops.assign(joined, state))
    return joined


def _integers(values: int | list[int]) -> Node:
    return ops.constant(np.array(values, np.int64))


def _parameter(shape: list[int], kind: Any, name: str) -> Node:
    parameter = ops.parameter(ov.PartialShape(shape), kind)
    parameter.output(0).get_tensor().set_names({name})
    return parameter


def _result(node: Node, name: str) -> Node:
    result = ops.result(node)
    result.output(0).get_tensor().set_names({name})
    return result
