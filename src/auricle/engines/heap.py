"""What glibc's malloc does with memory that is freed: an engine keeps it for the next window, others give it back."""

import ctypes
import sys
from collections.abc import Callable

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
"""From glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to give nothing back before the process ends; whether there is one to tell.

    A network asks for the same large buffers again for each window (72 MB of attention scores a layer of base).
    glibc takes such from the system and gives them back each time, so that the kernel clears 150,000 pages a window,
    which is a third of an encoder's processor time. Call it before there are threads: they get heaps of their own,
    which cannot hold large buffers.
    """
    mallopt = _glibc("mallopt")
    if mallopt is None:
        return False
    return all([mallopt(_M_ARENA_MAX, 1), mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, -1)])


def share_heaps() -> bool:
    """Tell glibc's malloc to serve all threads from two heaps; whether there is one to tell.

    It makes up to eight a core, and what one thread has freed in its own is of no use to the others: a server that
    reads audio in dozens of threads would grow for hours. Call it before there are threads.
    """
    mallopt = _glibc("mallopt")
    return mallopt is not None and bool(mallopt(_M_ARENA_MAX, 2))


def give_freed_memory_back() -> None:
    """Return what is free now to the system: loading a model needs far more than running it."""
    malloc_trim = _glibc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _glibc(name: str) -> Callable[..., int] | None:
    """A function of the C library; None on other systems, and where the library is another one."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
