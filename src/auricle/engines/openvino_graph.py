"""Whisper's encoder and decoder as OpenVINO models, built operation by operation from the weights of a checkpoint.

Encoder: features (1, n_mels, T) -> keys and values of the cross-attention, two tensors (1, H, T / 2, d) a layer.
Decoder: tokens (N, L) with cached self-attention -> logits of the next token at the positions asked for.
Rows of the decoder are W windows times G hypotheses; the G rows of a window lie side by side and share its
cross-attention tensors, which are read once for all of them.
Architecture: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportGeneralTypeIssues=false
# OpenVINO's operations carry no complete types.

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset15 as ops
from openvino.op.util import Variable as StateVariable
from openvino.op.util import VariableInfo

from auricle.engines.checkpoint import Checkpoint

Node = Any
"""An OpenVINO node."""
_ENCODED = "encoder.encoded"
"""Name of the operation whose output the projections read."""


class GraphBuilder:
    """Builds the two models of one set of weights.

    ``int8`` tells by their name which products have weights in 8 bits with a scale a row, as they are in the file or
    rounded anew. Products and convolutions have the names of their weights.
    ``half`` passes the cross-attention tensors as bfloat16.
    """

    def __init__(self, checkpoint: Checkpoint, *, int8: Callable[[str], bool], half: bool) -> None:
        self.shape = checkpoint.shape
        self._tensor = checkpoint.tensor
        self._int8 = int8
        self._cross_type = ov.Type.bf16 if half else ov.Type.f32

    def build_encoder(self) -> ov.Model:
        """features (1, n_mels, T) float32 -> cross_k0, cross_v0, cross_k1 … (1, H, T / 2, d).

        The projections to keys and values are in it, to be quantized with it; see ``split_encoder``.
        """
        shape = self.shape
        features = _parameter([1, shape.n_mels, -1], ov.Type.f32, "features")
        x = self._convolution(features, "encoder.conv1", stride=1)
        x = self._convolution(x, "encoder.conv2", stride=2)
        x = ops.transpose(x, _integers([0, 2, 1]))
        length = ops.gather(ops.shape_of(x), _integers([1]), _integers(0))
        places = self._array("encoder.positions.weight")
        x = ops.add(x, ops.slice(_constant(places), _integers([0]), length, _integers([1]), _integers([0])))
        for layer in range(shape.encoder_layers):
            name = f"encoder.{layer}"
            h = self._norm(x, f"{name}.attention.norm")
            q, k, v = self._split(self._linear(h, f"{name}.attention.qkv"), 3, shape.encoder_heads)
            h = _merge(_attend(q, k, v, shape.d_model // shape.encoder_heads))
            x = ops.add(x, self._linear(h, f"{name}.attention.out"))
            x = ops.add(x, self._feed_forward(x, f"{name}.ffn"))
        x = self._norm(x, "encoder.norm")
        x.set_friendly_name(_ENCODED)
        outputs: list[Node] = []
        for layer in range(shape.decoder_layers):
            pair = self._linear(x, f"decoder.{layer}.cross.key_value")
            for kind, tensor in zip("kv", self._split(pair, 2, shape.decoder_heads), strict=True):
                outputs.append(_result(ops.convert(tensor, self._cross_type), f"cross_{kind}{layer}"))
        return ov.Model(outputs, [features], "whisper_encoder")

    def build_decoder(self, alignment_heads: list[tuple[int, int]]) -> ov.Model:
        """One step, or a whole prompt, of N = W x G rows with state.

        Inputs: tokens (N, L) i32; positions (L,) i32; beam_idx (N,) i32, the row of the last call that each row
        continues; mask (N, 1, L, P + L) float32, added to the scores of the self-attention over P earlier positions;
        wanted (P',) i32, the places in L whose answer is asked for; cross_k0 … (W, H, S, d).
        Outputs: logits (N, P', vocabulary); queries (N, L, A, d), of the alignment heads.
        """
        shape, d = self.shape, self.shape.head_size
        tokens = _parameter([-1, -1], ov.Type.i32, "tokens")
        positions = _parameter([-1], ov.Type.i32, "positions")
        beam_idx = _parameter([-1], ov.Type.i32, "beam_idx")
        mask = _parameter([-1, 1, -1, -1], ov.Type.f32, "mask")
        wanted = _parameter([-1], ov.Type.i32, "wanted")
        parameters = [tokens, positions, beam_idx, mask, wanted]
        sinks: list[Node] = []
        queries: list[Node] = []
        embeddings = self._weight("decoder.embedding")
        places = _constant(self._array("decoder.positions.weight"))
        x = ops.add(ops.gather(embeddings, tokens, _integers(0)), ops.gather(places, positions, _integers(0)))
        rows_and_length = ops.shape_of(tokens)
        rows = ops.gather(rows_and_length, _integers([0]), _integers(0))
        empty = ops.concat([rows, _integers([shape.decoder_heads, 0, d])], 0)
        flat = ops.concat([rows_and_length, _integers([shape.d_model])], 0)
        for layer in range(shape.decoder_layers):
            name = f"decoder.{layer}"
            h = self._norm(x, f"{name}.attention.norm")
            q, k, v = self._split(self._linear(h, f"{name}.attention.qkv"), 3, shape.decoder_heads)
            k, v = (_cache(new, f"{kind}{layer}", empty, beam_idx, sinks) for kind, new in (("k", k), ("v", v)))
            h = _merge(_attend(q, k, v, d, mask))
            x = ops.add(x, self._linear(h, f"{name}.attention.out"))

            h = self._norm(x, f"{name}.cross.norm")
            q = self._linear(h, f"{name}.cross.query")
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
            x = ops.add(x, self._linear(h, f"{name}.cross.out"))
            x = ops.add(x, self._feed_forward(x, f"{name}.ffn"))

            heads = [head for at, head in alignment_heads if at == layer]
            if heads:
                by_head = ops.reshape(q, _integers([0, 0, shape.decoder_heads, d]), True)
                queries.append(ops.gather(by_head, _integers(heads), _integers(2)))
        x = self._norm(ops.gather(x, wanted, _integers(1)), "decoder.norm")
        logits = ops.matmul(x, embeddings, False, True)
        outputs = [_result(logits, "logits"), _result(ops.concat(queries, 2), "queries")]
        return ov.Model(outputs, sinks, parameters, "whisper_decoder")

    def _array(self, name: str) -> NDArray[np.float32]:
        return self._tensor(name).to_float32()

    def _weight(self, name: str) -> Node:
        if not self._int8(name):
            return _constant(self._array(f"{name}.weight"))
        rounded, steps = self._tensor(f"{name}.weight").to_int8()
        return ops.multiply(ops.convert(_constant(rounded), ov.Type.f32), _constant(steps))

    def _linear(self, x: Node, name: str) -> Node:
        product = ops.matmul(x, self._weight(name), False, True)
        product.set_friendly_name(name)
        return ops.add(product, _constant(self._array(f"{name}.bias")))

    def _norm(self, x: Node, name: str) -> Node:
        normal = ops.mvn(x, _integers([-1]), True, 1e-5, "inside_sqrt")
        scaled = ops.multiply(normal, _constant(self._array(f"{name}.weight")))
        return ops.add(scaled, _constant(self._array(f"{name}.bias")))

    def _feed_forward(self, x: Node, name: str) -> Node:
        h = self._linear(self._norm(x, f"{name}.norm"), f"{name}.in")
        return self._linear(ops.gelu(h, "erf"), f"{name}.out")

    def _convolution(self, x: Node, name: str, *, stride: int) -> Node:
        y = ops.convolution(x, _constant(self._array(f"{name}.weight")), [stride], [1], [1], [1])
        y.set_friendly_name(name)
        return ops.gelu(ops.add(y, _constant(self._array(f"{name}.bias")[None, :, None])), "erf")

    def _split(self, fused: Node, parts: int, heads: int) -> list[Node]:
        """(B, L, parts x D) -> as many (B, H, L, d)."""
        split = ops.split(fused, _integers(-1), parts)
        return [
            ops.transpose(ops.reshape(split.output(i), _integers([0, 0, heads, -1]), True), _integers([0, 2, 1, 3]))
            for i in range(parts)
        ]


def split_encoder(whole: ov.Model) -> tuple[ov.Model, ov.Model]:
    """The encoder proper, features -> encoded (1, T / 2, D) float32, and the projection of that to keys and values.

    They compute what ``whole`` computes, bit by bit; it is of no more use. Raises RuntimeError where it is not of this
    module's making.
    """
    encoded = next((node for node in whole.get_ordered_ops() if node.get_friendly_name() == _ENCODED), None)
    if encoded is None:
        raise RuntimeError(f"the network has no {_ENCODED}")
    outputs = whole.get_results()
    sides = [side.get_length() if side.is_static else -1 for side in encoded.output(0).get_partial_shape()]
    given = _parameter(sides, ov.Type.f32, "encoded")
    for reader in encoded.output(0).get_target_inputs():
        reader.replace_source_output(given.output(0))
    encoder = ov.Model([_result(encoded, "encoded")], whole.get_parameters(), "whisper_encoder")
    return encoder, ov.Model(outputs, [given], "whisper_projection")


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


def _constant(array: NDArray[Any]) -> Node:
    """Without a copy: the array, which may be mapped from a file, is kept as long as the model needs it."""
    return ops.constant(array, shared_memory=array.flags.c_contiguous and array.flags.writeable)


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
