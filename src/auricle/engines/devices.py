"""Which CUDA devices there are, asked of the driver itself, so that no engine need be loaded to choose a model."""

import ctypes
import sys
from functools import cache


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
