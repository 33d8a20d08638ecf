"""Writes the two networks of the package from the official ONNX file of Silero VAD; see README.md.

python convert.py silero_vad_16k_sequence.onnx ../../src/auricle/models
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHA256 = "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85"
OPSET, IR_VERSION = 16, 8
STATE = [1, 1, 128]


class Network:
    """An ONNX graph that is written node by node; every method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, value: object, dtype: type = np.int64) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(value, dtype)
        return name

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes: object) -> str:
        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def slice(self, x: str, start: int, end: int, axis: int, step: int = 1) -> str:
        return self.add("Slice", x, *(self.constant([value]) for value in (start, end, axis, step)))

    def linear(self, x: str, weight: np.ndarray, bias: np.ndarray) -> str:
        product = self.add("MatMul", x, self.constant(weight, np.float32))
        return self.add("Add", product, self.constant(bias, np.float32))

    def save(self, path: Path, inputs: dict[str, list], outputs: dict[str, list]) -> None:
        def values(shapes: dict[str, list]) -> list[onnx.ValueInfoProto]:
            return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]

        constants = [numpy_helper.from_array(value, name) for name, value in self.constants.items()]
        graph = helper.make_graph(self.nodes, path.stem, values(inputs), values(outputs), constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        onnx.save(model, path)


def taps(weight: np.ndarray) -> np.ndarray:
    """The weight (out, in, k) of a convolution as a matrix (k * in, out)."""
    return np.concatenate([weight[:, :, k].T for k in range(weight.shape[2])])


def encoder(weights: dict[str, np.ndarray]) -> Network:
    """Frames (n, 576) -> features (n, 128), without state."""
    net = Network()
    # Four windows of 256 samples, 128 apart; the last one sees 64 mirrored samples.
    x = net.add("Pad", "input", net.constant([0, 0, 0, 64]), mode="reflect")
    x = net.add("Reshape", x, net.constant([-1, 5, 128]))
    x = net.add("Concat", net.slice(x, 0, 4, 1), net.slice(x, 1, 5, 1), axis=2)
    x = net.add("MatMul", x, net.constant(weights["stft.forward_basis_buffer"][:, 0, :].T, np.float32))
    real, imaginary = net.slice(x, 0, 129, 2), net.slice(x, 129, 258, 2)
    x = net.add("Sqrt", net.add("Add", net.add("Mul", real, real), net.add("Mul", imaginary, imaginary)))
    # Convolutions of width 3 over 4, then 2, then 1 step, and once more over that one.
    x = net.add("Pad", x, net.constant([0, 1, 0, 0, 1, 0]))
    x = net.add("Concat", *(net.slice(x, k, k + 4, 1) for k in range(3)), axis=2)
    x = net.add("Relu", net.linear(x, taps(weights["encoder.0.weight"]), weights["encoder.0.bias"]))
    x = net.add("Pad", x, net.constant([0, 1, 0, 0, 0, 0]))
    x = net.add("Concat", *(net.slice(x, k, k + 4, 1, step=2) for k in range(3)), axis=2)
    x = net.add("Relu", net.linear(x, taps(weights["encoder.1.weight"]), weights["encoder.1.bias"]))
    x = net.add("Reshape", x, net.constant([-1, 128]))
    x = net.add("Relu", net.linear(x, taps(weights["encoder.2.weight"][:, :, 1:]), weights["encoder.2.bias"]))
    x = net.linear(x, taps(weights["encoder.3.weight"][:, :, 1:2]), weights["encoder.3.bias"])
    net.add("Relu", x, output="features")
    return net


def recurrent(weights: dict[str, np.ndarray]) -> Network:
    """Features (n, 128) and the state -> probabilities (n,) and the new state."""
    net = Network()
    x = net.add("Unsqueeze", "features", net.constant([1]))
    lstm = [net.constant(weights[f"onnx::LSTM_{k}"], np.float32) for k in (209, 210, 211)]
    outputs = ["hidden", "hn", "cn"]
    net.nodes.append(helper.make_node("LSTM", [x, *lstm, "", "h", "c"], outputs, hidden_size=128))
    x = net.add("Relu", net.add("Reshape", "hidden", net.constant([-1, 128])))
    x = net.add("Sigmoid", net.linear(x, weights["output.weight"][:, :, 0].T, weights["output.bias"]))
    net.add("Reshape", x, net.constant([-1]), output="speech_probs")
    return net


def main() -> None:
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    data = source.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        sys.exit(f"{source} is not silero_vad_16k_sequence.onnx of silero-vad 6.2.3")
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(data).graph.initializer}
    features, state = {"features": ["frames", 128]}, {"h": STATE, "c": STATE}
    encoder(weights).save(folder / "silero_vad_encoder.onnx", {"input": ["frames", 576]}, features)
    results = {"speech_probs": ["frames"], "hn": STATE, "cn": STATE}
    recurrent(weights).save(folder / "silero_vad_recurrent.onnx", features | state, results)


if __name__ == "__main__":
    main()
