"""What this machine can do, and how much of it the engines use (ROOF): ``python -m benchmarks.roofline``.

Rates of matrix products in float32, bfloat16 and 8 bits, through OpenVINO and numpy, and the bandwidth of the memory.
The least time of an encoder is its products at the 8-bit rate, and its attention and convolutions at the rate of
bfloat16. That of a step of the decoder is what it reads, at the memory's bandwidth: weights of 8 bits, and the keys
and values of each window in the number format that the engine keeps them in.

All times are processor time divided by the number of threads: what it would take on a machine that does nothing else.
"""

# pyright: reportGeneralTypeIssues=false
# OpenVINO's operations carry no complete types.

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset15 as ops

from auricle.engines.ct2_format import read_ct2
from auricle.engines.openvino_compile import capabilities_of
from benchmarks.bench import Bench
from benchmarks.engines import BATCHES, OURS, THEIRS, Costs, measure_costs, open_engines
from benchmarks.figures import Result, Spread, ratios, spread
from benchmarks.model_costs import ModelCosts

_ROWS, _INNER, _OUTER = 1500, 512, 2048
"""Of the product that is measured: the widest of base."""
_PRODUCTS = 20
_REPEATS = 7
_BUFFER_BYTES = 256 * 2**20
"""Of the memory that is read, far more than any cache holds."""
_FORMATS: Mapping[str, tuple[bool, dict[str, str]]] = {
    "float32": (False, {"INFERENCE_PRECISION_HINT": "f32"}),
    "bfloat16": (False, {"INFERENCE_PRECISION_HINT": "bf16"}),
    "8 bits": (True, {"INFERENCE_PRECISION_HINT": "bf16", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "64"}),
}
"""Whether the weights have 8 bits, and the hints; activations are rounded on the fly, as the engine does it."""


def measure_roofline(bench: Bench) -> list[Result]:
    """ROOF: rates, bandwidth, and the engines' shares of them."""
    threads = bench.setup.threads
    rates = {name: measure_products(name, threads) for name in _FORMATS}
    read, copied = measure_bandwidth(threads)
    results = [_rate(f"products, {name}, OpenVINO", "GFLOP/s", values) for name, values in rates.items()]
    results.append(_rate("products, float32, numpy", "GFLOP/s", measure_numpy_products(threads)))
    results += [_rate("memory, read", "GB/s", read), _rate("memory, read and written", "GB/s", copied)]
    costs = ModelCosts(shape=read_ct2(bench.setup.path).shape)
    with open_engines(bench.setup) as engines:
        measured = measure_costs(engines, bench)["processor"]
    # What a key or a value takes.
    itemsizes = {OURS: 2 if "BF16" in capabilities_of(ov.Core()) else 4, THEIRS: 4}
    for name, itemsize in itemsizes.items():
        results += shares(name, itemsize, costs, measured[name], rates, bandwidth=max(read), threads=threads)
    return results


def measure_products(number_format: str, threads: int) -> list[float]:
    """GFLOP/s of each repeat, of one number format through OpenVINO. Where the CPU lacks it, another one is taken."""
    has_int8_weights, hints = _FORMATS[number_format]
    random = np.random.default_rng(0)
    left = ops.parameter(ov.PartialShape([-1, _INNER]), ov.Type.f32)
    weight: Any = ops.constant(random.standard_normal((_OUTER, _INNER), dtype=np.float32))
    if has_int8_weights:
        rounded = ops.constant(random.integers(-127, 128, (_OUTER, _INNER), np.int8))
        weight = ops.multiply(ops.convert(rounded, ov.Type.f32), ops.constant(np.full((_OUTER, 1), 0.01, np.float32)))
    model = ov.Model([ops.result(ops.matmul(left, weight, False, True))], [left], "product")
    hints = {**hints, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": str(threads)}
    request = ov.Core().compile_model(model, "CPU", hints).create_infer_request()
    request.set_input_tensor(ov.Tensor(random.standard_normal((_ROWS, _INNER), dtype=np.float32)))
    return [_gflop() / seconds for seconds in _repeat(request.infer, threads)]


def measure_numpy_products(threads: int) -> list[float]:
    """GFLOP/s of each repeat, float32."""
    random = np.random.default_rng(0)
    left = random.standard_normal((_ROWS, _INNER), dtype=np.float32)
    right = random.standard_normal((_INNER, _OUTER), dtype=np.float32)
    out = np.empty((_ROWS, _OUTER), np.float32)
    return [_gflop() / seconds for seconds in _repeat(lambda: np.matmul(left, right, out=out), threads)]


def measure_bandwidth(threads: int) -> tuple[list[float], list[float]]:
    """GB/s read, and read and written, of each repeat."""
    parts = [np.ones(_BUFFER_BYTES // 4 // threads, np.float32) for _ in range(threads)]
    targets = [np.zeros_like(part) for part in parts]
    with ThreadPoolExecutor(threads) as pool:
        read = list(_repeat(lambda: list(pool.map(np.max, parts)), threads, count=1))
        copied = list(_repeat(lambda: list(pool.map(np.copyto, targets, parts)), threads, count=1))
    size = sum(part.nbytes for part in parts) / 1e9
    return [size / seconds for seconds in read], [2 * size / seconds for seconds in copied]


def _gflop() -> float:
    return 2.0 * _ROWS * _INNER * _OUTER / 1e9


def _repeat(work: Callable[[], object], threads: int, count: int = _PRODUCTS) -> list[float]:
    """Seconds of one piece of ``work`` in each repeat of ``count``; one repeat more goes before and does not count."""
    seconds: list[float] = []
    for _ in range(_REPEATS + 1):
        start = time.process_time()
        for _ in range(count):
            work()
        seconds.append((time.process_time() - start) / count / threads)
    return seconds[1:]


def shares(
    name: str,
    itemsize: int,
    costs: ModelCosts,
    measured: Costs,
    rates: Mapping[str, Sequence[float]],
    *,
    bandwidth: float,
    threads: int,
) -> list[Result]:
    """The least time over the measured one, which is processor time by threads; peaks are the best of the repeats."""
    fast, half = max(rates["8 bits"]), max(*rates["bfloat16"], *rates["float32"])
    least = costs.encoder_products / fast + (costs.encoder_convolutions + costs.encoder_attention) / half
    encode = [seconds / threads for seconds in measured.encode]
    results = [_share(name, "encoder, a window", least / 1e9, encode, {"gflop": round(costs.encoder / 1e9, 1)})]
    for rows in BATCHES:
        size = costs.decoder_weights + rows * costs.shape.cross_values * itemsize
        steps = [rows * seconds / threads for seconds in measured.token[rows, 1]]
        details = {"megabytes": round(size / 1e6, 1)}
        results.append(_share(name, f"decoder, a step of {rows} rows, greedy", size / bandwidth / 1e9, steps, details))
    return results


def _rate(measure: str, unit: str, values: Sequence[float]) -> Result:
    figure = spread(values)
    return Result(
        id="ROOF",
        measure=measure,
        subject="this machine",
        peer=None,
        unit=unit,
        ours=figure,
        theirs=None,
        figure=figure,
        goal=None,
    )


def _share(name: str, what: str, least_s: float, seconds: Sequence[float], details: dict[str, Any]) -> Result:
    bound = Spread(values=tuple(1000 * least_s for _ in seconds))
    measured = spread([1000 * value for value in seconds])
    return Result(
        id="ROOF",
        measure=f"{what}: least time / time",
        subject=name,
        peer=name,
        unit="ms",
        ours=bound,
        theirs=measured,
        figure=ratios(bound, measured),
        goal=None,
        details=details,
    )


if __name__ == "__main__":
    from benchmarks.__main__ import main

    sys.argv[1:1] = ["--only", "ROOF"]
    main()
