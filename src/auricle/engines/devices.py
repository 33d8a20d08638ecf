"""What the machine has to compute with, without loading an engine: CUDA devices, and what the processor can do."""

import ctypes
import sys
from functools import cache
from pathlib import Path


@cache
def cuda_memory_bytes() -> tuple[int, ...]:
    """Total memory of each CUDA device; empty without a working driver. Device order is the driver's."""
    try:
        cuda = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int()
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    totals: list[int] = []
    for index in range(count.value):
        device, total = ctypes.c_int(), ctypes.c_size_t()
        known = cuda.cuDeviceGet(ctypes.byref(device), index) == 0
        if known and cuda.cuDeviceTotalMem_v2(ctypes.byref(total), device) == 0:
            totals.append(total.value)
    return tuple(totals)


@cache
def cpu_features() -> frozenset[str]:
    """Instruction sets of the processor by their names in Linux; empty where the system does not tell them there."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return frozenset()
    line = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return frozenset(line.partition(":")[2].split())
