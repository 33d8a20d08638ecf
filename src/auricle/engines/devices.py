"""What the machine has to compute with, without loading an engine: CUDA devices, the GPU of an Apple chip, and what the
processor can do."""

import ctypes
import platform
import sys
from ctypes import byref
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

_MAJOR, _MINOR = 75, 76
"""Attributes of a CUDA device: its compute capability."""
_TEXT_BYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaDevice:
    """A CUDA device as the driver tells of it."""

    index: int
    """As CUDA counts, which ``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER`` decide about."""
    name: str
    memory_bytes: int
    capability: tuple[int, int]
    """Compute capability, such as (9, 0)."""
    bus_id: str
    """Place on the PCI bus, by which NVML finds it; empty where the driver does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppleGpu:
    """The GPU of an Apple chip."""

    name: str
    """Of the chip."""
    memory_bytes: int
    """Shared with the processor."""


@cache
def cuda_devices() -> tuple[CudaDevice, ...]:
    """The CUDA devices in the driver's order; empty without a working driver."""
    try:
        cuda = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return ()
    return read_cuda_devices(cuda)


def read_cuda_devices(cuda: Any) -> tuple[CudaDevice, ...]:
    """The devices that the CUDA driver ``cuda`` (its library) tells of; one that cannot be asked is left out."""
    count = ctypes.c_int()
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(byref(count)) != 0:
        return ()
    found = (_read_cuda_device(cuda, index) for index in range(count.value))
    return tuple(device for device in found if device is not None)


def cuda_memory_bytes() -> tuple[int, ...]:
    """Total memory of each CUDA device; empty without a working driver."""
    return tuple(device.memory_bytes for device in cuda_devices())


def free_cuda_bytes(device: CudaDevice) -> int | None:
    """Memory that nobody uses on the device, now; None where NVML, which comes with the driver, does not tell."""
    try:
        nvml = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
    except OSError:
        return None
    return read_free_bytes(nvml, device.bus_id)


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def read_free_bytes(nvml: Any, bus_id: str) -> int | None:
    """Free memory of the device at ``bus_id``, as NVML (its library) tells; None where it cannot."""
    if nvml.nvmlInit_v2() != 0:
        return None
    try:
        handle, memory = ctypes.c_void_p(), _Memory()
        is_known = nvml.nvmlDeviceGetHandleByPciBusId_v2(bus_id.encode(), byref(handle)) == 0
        if is_known and nvml.nvmlDeviceGetMemoryInfo(handle, byref(memory)) == 0:
            return int(memory.free)
        return None
    finally:
        nvml.nvmlShutdown()


@cache
def apple_gpu() -> AppleGpu | None:
    """The GPU of an Apple chip; None on other machines, and where Python itself is translated (Rosetta)."""
    if (platform.system(), platform.machine()) != ("Darwin", "arm64"):
        return None
    return AppleGpu(name=_chip_name() or "Apple chip", memory_bytes=psutil.virtual_memory().total)


@cache
def cpu_features() -> frozenset[str]:
    """Instruction sets of the processor by their names in Linux; empty where the system does not tell them there."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return frozenset()
    line = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return frozenset(line.partition(":")[2].split())


def _read_cuda_device(cuda: Any, index: int) -> CudaDevice | None:
    device, total = ctypes.c_int(), ctypes.c_size_t()
    is_known = cuda.cuDeviceGet(byref(device), index) == 0
    if not is_known or cuda.cuDeviceTotalMem_v2(byref(total), device) != 0:
        return None
    name, bus_id = (ctypes.create_string_buffer(_TEXT_BYTES) for _ in range(2))
    major, minor = ctypes.c_int(), ctypes.c_int()
    # What these leave unsaid is shown as empty or 0.0.
    cuda.cuDeviceGetName(name, _TEXT_BYTES, device)
    cuda.cuDeviceGetPCIBusId(bus_id, _TEXT_BYTES, device)
    cuda.cuDeviceGetAttribute(byref(major), _MAJOR, device)
    cuda.cuDeviceGetAttribute(byref(minor), _MINOR, device)
    return CudaDevice(
        index=index,
        name=name.value.decode(errors="replace"),
        memory_bytes=total.value,
        capability=(major.value, minor.value),
        bus_id=bus_id.value.decode(errors="replace"),
    )


def _chip_name() -> str:
    name, size = ctypes.create_string_buffer(_TEXT_BYTES), ctypes.c_size_t(_TEXT_BYTES)
    try:
        failed = ctypes.CDLL(None).sysctlbyname(b"machdep.cpu.brand_string", name, byref(size), None, 0)
    except (OSError, AttributeError):
        return ""
    return "" if failed else name.value.decode(errors="replace")
