"""What a figure was measured on."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

LIBRARIES = ("auricle", "faster-whisper", "ctranslate2", "openvino", "onnxruntime", "av", "numpy")
VECTORS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")
"""Vector instructions by their names in Linux, from old to new."""


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, system, Python and the libraries that matter."""
    return {
        "cpu": _cpu_model(),
        "cores": count_cores(),
        "ram_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": {name: found for name in LIBRARIES if (found := _version(name)) is not None},
    }


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_kind(cpu: str) -> str:
    """The last of its vector instructions in the ``cpu`` of a description, which is what speed depends on most."""
    return next((name for name in reversed(VECTORS) if name in cpu), "other")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
    named = {key.strip(): value.strip() for key, value in facts.items()}
    vectors = " ".join(name for name in VECTORS if name in named.get("flags", "").split())
    return f"{named.get('model name', platform.machine())} (family {named.get('cpu family')}, {vectors})"
