"""What the device can do: the rate of matrix products, the bandwidth of its memory, and what is in use of it."""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

_INNER = 4096
_BUFFER_BYTES = 2**30
_REPEATS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """Measured, not from a data sheet."""

    flops: float
    """Per second, of a large product in the model's number format."""
    bytes: float
    """Per second, read and written by a copy."""


def describe_device(device: str) -> dict[str, Any]:
    """Name, memory and versions."""
    facts: dict[str, Any] = {"device": device, "torch": torch.__version__}
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        facts |= {
            "name": properties.name,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
        }
    else:
        facts |= {"name": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    return facts


def measure_peak(device: str, dtype: torch.dtype) -> Peak:
    """The best of a few repeats; small sizes where the device is a CPU."""
    inner, size = (_INNER, _BUFFER_BYTES) if device == "cuda" else (2048, _BUFFER_BYTES // 8)
    left = torch.randn(inner, inner, device=device).to(dtype)
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    product_s = min(time_calls(lambda: left @ left, device, _REPEATS))
    copy_s = min(time_calls(lambda: target.copy_(source), device, _REPEATS))
    return Peak(flops=2.0 * inner**3 / product_s, bytes=2.0 * size / copy_s)


def time_calls(call: Callable[[], object], device: str, repeats: int) -> list[float]:
    """Seconds of each repeat; the first one, which compiles and allocates, does not count."""
    seconds: list[float] = []
    for _ in range(repeats + 1):
        synchronize(device)
        began = time.perf_counter()
        call()
        synchronize(device)
        seconds.append(time.perf_counter() - began)
    return seconds[1:]


def synchronize(device: str) -> None:
    """Wait for what was asked of the device."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def memory_mib(device: str) -> float | None:
    """Most memory that was taken since the start; None where the device does not tell."""
    return torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else None
