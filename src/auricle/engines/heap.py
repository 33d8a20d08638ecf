"""Memory that an engine frees stays with its process, ready for the next window."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
"""From glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to give nothing back before the process ends; whether there is one to tell.

    A network asks for the same large buffers again for each window (72 MB of attention scores a layer of base).
    glibc takes such from the system and gives them back each time, so that the kernel clears 150,000 pages a window,
    which is a third of an encoder's processor time. Call it before there are threads: they get heaps of their own,
    which cannot hold large buffers.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return False
    return all([mallopt(_M_ARENA_MAX, 1), mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, -1)])


def give_freed_memory_back() -> None:
    """Return what is free now to the system: loading a model needs far more than running it."""
    if not sys.platform.startswith("linux"):
        return
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
