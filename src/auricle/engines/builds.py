"""What the installed engines can compute on, told without importing them: torch alone takes seconds."""

import platform
import re
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from auricle.engines.registry import installed_engines

GPU_ENGINES: dict[str, tuple[str, ...]] = {"cuda": ("torch", "ct2"), "mps": ("mlx", "torch")}
"""Engines for each kind of GPU, the one that is taken to be faster first. ``mps`` is the GPU of an Apple chip."""

_CUDA = re.compile(r"^cuda\b[^=\n]*=\s*'([\d.]+)'", re.MULTILINE)


def gpu_builds() -> dict[str, frozenset[str]]:
    """Kind of GPU -> the engines whose installed package can use one, whether there is one or not."""
    return find_builds(
        installed_engines(),
        system=platform.system(),
        processor=platform.machine(),
        torch_has_cuda=torch_cuda_version() is not None,
    )


def find_builds(
    installed: Collection[str], *, system: str, processor: str, torch_has_cuda: bool
) -> dict[str, frozenset[str]]:
    """See ``gpu_builds``; ``system`` and ``processor`` as ``platform`` names them."""
    # CTranslate2's packages for other processors are built without CUDA.
    ct2 = processor.lower() in {"x86_64", "amd64"} and system != "Darwin"
    able = {
        "cuda": {name for name, is_able in (("ct2", ct2), ("torch", torch_has_cuda)) if is_able},
        "mps": {"mlx", "torch"} if (system, processor) == ("Darwin", "arm64") else set[str](),
    }
    return {device: frozenset(engines & set(installed)) for device, engines in able.items()}


def torch_cuda_version() -> str | None:
    """The version of CUDA that the installed torch is built for; None where it is built for the CPU, or missing."""
    spec = find_spec("torch")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        try:
            found = _CUDA.search((Path(folder) / "version.py").read_text("utf-8"))
        except OSError:
            continue
        return found[1] if found else None
    return None
