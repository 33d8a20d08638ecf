"""Where CTranslate2 runs, and in which number format; what it lacks is found before it is used.

On CUDA it opens cuBLAS 12 by its name when the first window is encoded, and nothing else: its wheels need no cuDNN. A
library of that name which is in the process already is taken, so that pip's package serves, wherever it lies.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# CTranslate2's extension module carries no types.

import ctypes
import sys
from collections.abc import Collection
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import ctranslate2  # pyright: ignore[reportMissingTypeStubs]

from auricle.errors import EngineFailed, EngineNotInstalled, InvalidOption

CUBLAS_PACKAGE = "nvidia-cublas-cu12"
_CUBLAS = (
    ("cublasLt64_12.dll", "cublas64_12.dll") if sys.platform == "win32" else ("libcublasLt.so.12", "libcublas.so.12")
)
"""The second needs the first."""
_PREFERRED = {
    "cpu": ("int8_float32", "float32"),
    "cuda": ("float16", "int8_float16", "float32"),
}
_WHY = {
    "int8_float32": "8-bit weights are about twice as fast as float32 on this CPU, at nearly the same error",
    "float16": "the GPU computes float16 natively",
    "int8_float16": "the GPU has no fast float16, but 8-bit products",
    "float32": "the device supports nothing faster",
}


def choose_device(device: str) -> str:
    """``cpu`` or ``cuda`` for a setting that may say ``auto``. Raises InvalidOption for another."""
    if device == "auto":
        return "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
    if device not in _PREFERRED:
        raise InvalidOption(f"engine 'ct2' runs on cpu and cuda, not on {device}", param="device")
    return device


def choose_compute_type(device: str, index: int = 0) -> tuple[str, str]:
    """The number format that ``device`` does well, and why. Raises EngineFailed where CUDA cannot be used."""
    supported = _supported(device, index)
    chosen = next((name for name in _PREFERRED[device] if name in supported), "float32")
    return chosen, _WHY[chosen]


def settle_compute_type(asked: str, device: str, index: int) -> str:
    """The number format for a setting that may say ``auto``.

    Raises InvalidOption for one that the device lacks, EngineFailed where CUDA cannot be used.
    """
    if asked == "auto":
        return choose_compute_type(device, index)[0]
    supported = _supported(device, index)
    if asked != "default" and asked not in {*supported, "int8"}:
        raise InvalidOption(
            f"this {device} device has no compute type {asked!r}; it has {', '.join(sorted(supported))}",
            param="compute_type",
        )
    return asked


def check_cuda(index: int) -> None:
    """Have all that CTranslate2 needs on the CUDA device ``index``.

    Raises EngineFailed where there is no CUDA, or no such device, EngineNotInstalled where cuBLAS is missing.
    """
    count = int(ctranslate2.get_cuda_device_count())
    if count == 0:
        raise EngineFailed(
            "CTranslate2 sees no CUDA device: `nvidia-smi` tells whether the driver works, CUDA_VISIBLE_DEVICES may "
            "hide devices, and packages for other processors than x86-64 are built without CUDA"
        )
    if index >= count:
        raise EngineFailed(f"there is no CUDA device {index}; CTranslate2 sees {count}, counted from 0")
    missing = [name for name in _CUBLAS if not _open_library(name)]
    if missing:
        raise EngineNotInstalled(
            f"CTranslate2 needs cuBLAS 12 on CUDA, but {missing[0]} cannot be found; install it with: "
            f"pip install {CUBLAS_PACKAGE}"
        )


def _supported(device: str, index: int) -> Collection[str]:
    try:
        return ctranslate2.get_supported_compute_types(device, index)
    except (RuntimeError, ValueError) as error:
        raise EngineFailed(f"CTranslate2 cannot use {device} device {index}: {error}") from error


def _open_library(name: str) -> bool:
    """Load a library from where the system looks for it, else from pip's package; it stays loaded."""
    spec = find_spec("nvidia.cublas") if find_spec("nvidia") else None
    folders = (spec.submodule_search_locations if spec else None) or ()
    places = [name, *(str(Path(folder) / part / name) for folder in folders for part in ("lib", "bin"))]
    for place in places:
        with suppress(OSError):
            ctypes.CDLL(place, mode=ctypes.RTLD_GLOBAL)
            return True
    return False
