"""Writes the network of speaker embeddings from the weights that Resemblyzer carries; see README.md.

python convert.py resemblyzer/pretrained.pt ../../src/auricle/models/speakers
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from auricle.mel_scale import mel_filters

SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"
OPSET, IR_VERSION = 17, 8
N_BINS, N_MELS, HIDDEN, LAYERS = 201, 40, 256, 3
QUANTIZED = (1, 2)
"""Layers in 8 bits. The first one reads the spectrum, whose range is too wide for that."""
LEVELS = 63
"""Weights of 7 bits: processors without VNNI add two products of 8 bits in 16, which must hold them."""


class Network:
    """An ONNX graph that is written node by node; every method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, value: object, dtype: type = np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(value, dtype)
        return name

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes: object) -> str:
        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def lstm(self, x: str, weight: np.ndarray, recurrence: np.ndarray, bias: np.ndarray) -> str:
        """(T, n, in) -> (T, n, hidden), in float32."""
        constants = [self.constant(value[None]) for value in (weight, recurrence, bias)]
        outputs = self.add("LSTM", x, *constants, hidden_size=HIDDEN)
        return self.add("Squeeze", outputs, self.constant([1], np.int64))

    def lstm8(self, x: str, weight: np.ndarray, recurrence: np.ndarray, bias: np.ndarray) -> str:
        """The same with weights of 8 bits, and what they are multiplied with rounded to 8 bits as it comes."""
        w, w_scale, w_zero = self._quantized(weight)
        r, r_scale, r_zero = self._quantized(recurrence)
        inputs = [x, w, r, self.constant(bias[None]), "", "", "", "", w_scale, w_zero, r_scale, r_zero]
        outputs = self.add("DynamicQuantizeLSTM", *inputs, hidden_size=HIDDEN, domain="com.microsoft")
        return self.add("Squeeze", outputs, self.constant([1], np.int64))

    def _quantized(self, matrix: np.ndarray) -> tuple[str, str, str]:
        """(4 * hidden, in) -> the names of (1, in, 4 * hidden) in int8, its scales and zero points, one a column."""
        scale = np.abs(matrix).max(axis=1) / LEVELS
        levels = np.rint(matrix / scale[:, None]).T[None]
        return (
            self.constant(levels, np.int8),
            self.constant(scale[None]),
            self.constant(np.zeros((1, len(scale))), np.int8),
        )

    def save(self, path: Path, inputs: dict[str, tuple[int, list]], outputs: dict[str, tuple[int, list]]) -> None:
        def values(of: dict[str, tuple[int, list]]) -> list[onnx.ValueInfoProto]:
            return [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in of.items()]

        constants = [numpy_helper.from_array(value, name) for name, value in self.constants.items()]
        graph = helper.make_graph(self.nodes, path.stem, values(inputs), values(outputs), constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION), path)


def gates(matrix: np.ndarray) -> np.ndarray:
    """Rows in the order of ONNX (input, output, forget, cell) from torch's (input, forget, cell, output)."""
    i, f, g, o = np.split(matrix, 4)
    return np.concatenate([i, o, f, g])


def encoder(weights: dict[str, np.ndarray], quantized: tuple[int, ...] = QUANTIZED) -> Network:
    """Power spectra and which of them make up which excerpt -> one vector for each place that is read."""
    net = Network()
    mel = net.add("MatMul", "power", net.constant(mel_filters(N_MELS).T), output="mel")
    x = net.add("Mul", net.add("Gather", mel, "frames", axis=0), "gain")
    for layer in range(LAYERS):
        weight, recurrence = (gates(weights[f"lstm.weight_{kind}_l{layer}"]) for kind in ("ih", "hh"))
        bias = np.concatenate([gates(weights[f"lstm.bias_{kind}_l{layer}"]) for kind in ("ih", "hh")])
        x = (net.lstm8 if layer in quantized else net.lstm)(x, weight, recurrence, bias)
    x = net.add("GatherND", x, "reads")
    x = net.add("Gemm", x, net.constant(weights["linear.weight"]), net.constant(weights["linear.bias"]), transB=1)
    x = net.add("Relu", x)
    length = net.add("Max", net.add("ReduceL2", x, axes=[1], keepdims=1), net.constant([1e-6]))
    net.add("Div", x, length, output="voices")
    return net


def main() -> None:
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    if hashlib.sha256(source.read_bytes()).hexdigest() != SHA256:
        sys.exit(f"{source} is not pretrained.pt of Resemblyzer 0.1.4")
    state = torch.load(source, map_location="cpu", weights_only=True)["model_state"]
    weights = {name: value.numpy() for name, value in state.items()}
    inputs = {
        "power": (TensorProto.FLOAT, ["n_frames", N_BINS]),
        "frames": (TensorProto.INT64, ["length", "n_excerpts"]),
        "gain": (TensorProto.FLOAT, ["n_excerpts", 1]),
        "reads": (TensorProto.INT64, ["n_reads", 2]),
    }
    outputs = {
        "voices": (TensorProto.FLOAT, ["n_reads", HIDDEN]),
        "mel": (TensorProto.FLOAT, ["n_frames", N_MELS]),
    }
    encoder(weights).save(folder / "ge2e.onnx", inputs, outputs)


if __name__ == "__main__":
    main()
