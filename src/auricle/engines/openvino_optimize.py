"""Quantizes the encoder beforehand with recordings, and keeps it only where a check shows that it is worth it.

With ranges of the activations that are known beforehand, the products need no pass over their inputs to find them.
Post-training quantization by NNCF (Nagel et al., "A White Paper on Neural Network Quantization", 2021), with the ranges
of single channels moved into the weights (Xiao et al., "SmoothQuant", 2022). NNCF is imported here only.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
# OpenVINO carries no complete types.

import io
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from auricle.engines.base import EngineConfig
from auricle.engines.checkpoint import Checkpoint
from auricle.engines.checkpoint_files import read_checkpoint
from auricle.engines.openvino_cache import fingerprint
from auricle.engines.openvino_compile import (
    capabilities_of,
    choose_compute_type,
    fix_length,
    graph_builder,
    with_hints,
)
from auricle.engines.openvino_graph import GraphBuilder
from auricle.engines.openvino_tensors import to_float32
from auricle.engines.optimized import (
    About,
    Figures,
    Optimized,
    keep_optimized,
    openvino_version,
    processor_features,
)
from auricle.engines.speed import WORTH
from auricle.errors import EngineNotInstalled, UnsupportedOption
from auricle.types import Features

MOST_ERROR = 1.25
"""What is kept has at most this many times the error of rounding on the fly."""
_ROUNDS = 12
_PASSES = 3
"""Of NNCF over the windows: for the channels, for the ranges, and for the biases."""

Report = Callable[[str, int, int], None]
"""Takes what is being done, and how many of how many windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Features of full windows, (n_mels, 3000) each."""

    calibration: Sequence[Features]
    """What the ranges of the activations are found with: of all kinds that will come, silence and noise among them."""
    held_out: Sequence[Features]
    """What the check is made with."""


def optimize_encoder(
    config: EngineConfig, make_windows: Callable[[int], Windows], *, data_dir: Path, report: Report
) -> Optimized:
    """Quantize the encoder of the model of ``config`` and keep it for the engine; ``make_windows`` is given ``n_mels``.

    Raises UnsupportedOption where the compute type has no 8-bit weights, or the check finds it not worth it; nothing is
    kept then, and an earlier one stays. Raises EngineNotInstalled without NNCF, EngineFailed for damaged model files,
    OSError where it cannot be written.
    """
    nncf = _import_nncf()
    core = ov.Core()
    compute_type = choose_compute_type(config.compute_type, capabilities_of(core))
    if not compute_type.startswith("int8"):
        raise UnsupportedOption(
            f"compute type {compute_type!r} has no 8-bit weights; only int8 and its kinds can be optimized",
            param="compute_type",
        )
    checkpoint = read_checkpoint(config.model_path)
    windows = make_windows(checkpoint.shape.n_mels)
    network = _quantize(nncf, checkpoint, compute_type, windows.calibration, report)
    compiler = _Compiler(core=core, checkpoint=checkpoint, compute_type=compute_type, threads=config.threads)
    plain, quantized = _compare(compiler, network, windows.held_out, report)
    if refusal := find_refusal(plain, quantized):
        raise UnsupportedOption(
            f"the encoder of {config.model_name} is left as it is: {refusal}{explain_processor(processor_features())}",
            param="model",
        )
    about = About(
        model=config.model_name,
        compute_type=compute_type,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        calibration_windows=len(windows.calibration),
        held_out_windows=len(windows.held_out),
        plain=plain,
        quantized=quantized,
        fingerprint=fingerprint(config.model_path),
        openvino=openvino_version(),
        processor=processor_features(),
    )
    return keep_optimized(
        about,
        lambda path: ov.save_model(network, path, compress_to_fp16=False),
        model_path=config.model_path,
        data_dir=data_dir,
    )


def find_refusal(plain: Figures, quantized: Figures) -> str:
    """Why a quantized encoder is not worth it; empty where it is."""
    # Written so that an error that is no number is refused.
    if not quantized.error <= MOST_ERROR * plain.error:
        return (
            f"quantized beforehand its error would be {quantized.error:.2%} instead of {plain.error:.2%}, and "
            f"{MOST_ERROR:g} times as much is accepted; recordings like those that it will hear may help (--audio), "
            "and so may a model whose file has 16 bits a weight, not 8"
        )
    if not quantized.encode_s * WORTH <= plain.encode_s:
        return (
            f"quantized beforehand it would take {1e3 * quantized.encode_s:.0f} ms of processor time a window instead "
            f"of {1e3 * plain.encode_s:.0f}, which is not the {WORTH - 1:.0%} faster that makes it worth it"
        )
    return ""


def explain_processor(features: str) -> str:
    """A sentence where the processor is the likely reason; ``features`` as ``processor_features`` has them."""
    if "avx2" not in features.split() or "vnni" in features:
        return ""
    return (
        ". This processor lacks instructions for sums of 8-bit products (VNNI); on such a one it was neither as exact "
        "nor faster"
    )


def _import_nncf() -> Any:
    try:
        # It has its say on standard output, where results go.
        with redirect_stdout(io.StringIO()):
            nncf = import_module("nncf")
            nncf.set_log_level(logging.ERROR)
    except ImportError as error:
        raise EngineNotInstalled(
            f"NNCF cannot be imported ({error}); install it with: pip install 'auricle[optimize]'"
        ) from error
    return nncf


def _quantize(
    nncf: Any, checkpoint: Checkpoint, compute_type: str, windows: Sequence[Features], report: Report
) -> ov.Model:
    """The encoder with fixed ranges for the inputs of its products.

    The two convolutions, whose input is the spectrogram, stay as they are: they cost little, and rounding them was most
    of the error. So does the second product of each feed-forward layer, whose inputs have a few very large values; it
    goes on to be rounded on the fly.
    """
    layers = [f"encoder.{layer}.ffn.out" for layer in range(checkpoint.shape.encoder_layers)]
    on_the_fly = frozenset(layers)
    half = compute_type.endswith("bfloat16")
    network = GraphBuilder(checkpoint, int8=lambda name: name in on_the_fly, half=half).build_encoder()
    seen = 0

    def take(features: Features) -> Features:
        nonlocal seen
        report("calibrating", seen, _PASSES * len(windows))
        seen += 1
        return features[None]

    ranges = import_module("nncf.quantization.range_estimator").RangeEstimatorParametersSet.MINMAX
    with redirect_stdout(io.StringIO()):
        return nncf.quantize(
            network,
            nncf.Dataset(windows, take),
            subset_size=len(windows),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(names=[*layers, "encoder.conv1", "encoder.conv2"]),
            advanced_parameters=nncf.AdvancedQuantizationParameters(activations_range_estimator_params=ranges),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compiler:
    """Compiles encoders of one model for windows of the full length, as the engine does."""

    core: ov.Core
    checkpoint: Checkpoint
    compute_type: str
    threads: int

    def exact(self) -> ov.InferRequest:
        return self._compile(graph_builder(self.checkpoint, "float32").build_encoder(), "float32")

    def plain(self) -> ov.InferRequest:
        return self.compile(graph_builder(self.checkpoint, self.compute_type).build_encoder())

    def compile(self, network: ov.Model) -> ov.InferRequest:
        return self._compile(network, self.compute_type)

    def _compile(self, network: ov.Model, compute_type: str) -> ov.InferRequest:
        fixed = fix_length(network, self.checkpoint)
        return with_hints(
            compute_type,
            self.threads,
            lambda hints: self.core.compile_model(fixed, "CPU", hints).create_infer_request(),
        )


def _compare(
    compiler: _Compiler, network: ov.Model, windows: Sequence[Features], report: Report
) -> tuple[Figures, Figures]:
    """What the encoder that rounds on the fly is like, and what ``network`` is."""
    exact, requests = compiler.exact(), (compiler.plain(), compiler.compile(network))
    errors: list[list[float]] = [[], []]
    for number, window in enumerate(windows):
        report("checking the error", number, len(windows))
        _infer(exact, window)
        for request, found in zip(requests, errors, strict=True):
            _infer(request, window)
            found.append(_distance(request, exact))
    seconds: list[list[float]] = [[], []]
    for number in range(_ROUNDS):
        report("measuring the time", number, _ROUNDS)
        # In turns, so that a machine that becomes slower in between favours none.
        for request, found in zip(requests, seconds, strict=True):
            found.append(_infer(request, windows[number % len(windows)]))
    plain, quantized = (
        Figures(error=float(np.mean(error)), encode_s=min(times)) for error, times in zip(errors, seconds, strict=True)
    )
    return plain, quantized


def _infer(request: ov.InferRequest, window: Features) -> float:
    """Runs the encoder; gives its processor time in seconds."""
    request.set_tensor("features", ov.Tensor(np.ascontiguousarray(window[None])))
    began = time.process_time()
    request.infer()
    return time.process_time() - began


def _distance(request: ov.InferRequest, exact: ov.InferRequest) -> float:
    """Between the outputs of both, as a share of the norm of the exact ones."""
    apart = norm = 0.0
    for index in range(len(exact.model_outputs)):
        wanted = to_float32(exact.get_output_tensor(index))
        found = to_float32(request.get_output_tensor(index))
        apart += float(np.square(found - wanted).sum(dtype=np.float64))
        norm += float(np.square(wanted).sum(dtype=np.float64))
    return (apart / norm) ** 0.5
