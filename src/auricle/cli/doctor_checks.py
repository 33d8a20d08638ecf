"""The checks of ``auricle doctor``."""

import asyncio
import os
import platform
import shutil
import time
import uuid
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from auricle import __version__
from auricle.cli.compare import count_word_errors
from auricle.cli.doctor_check import Check, checked
from auricle.cli.doctor_engines import check_devices, check_engine
from auricle.cli.measured import chosen_engine, find_default_model
from auricle.cli.samples import list_samples
from auricle.config import Settings
from auricle.engines.devices import cpu_features
from auricle.engines.optimized import find_optimized, summarise
from auricle.engines.weights import NANO, find_model, list_models
from auricle.errors import AuricleError
from auricle.runtime import default_model_name, open_runtime
from auricle.types import RequestInfo, TranscribeOptions, Transcript

_PACKAGES = ("av", "ctranslate2", "onnxruntime", "numpy", "tokenizers", "huggingface-hub")
_OPTIONAL = ("openvino", "torch", "mlx")
"""Shown where they are installed."""
_CPU_FLAGS = (
    *("sse4_1", "avx", "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "amx_bf16"),
    *("asimd", "i8mm", "bf16"),
)
"""What engines choose their kernels by."""
_TOO_LITTLE_BYTES = 5 * 10**9
"""Free space below which a large model does not fit."""
_BROKEN_FROM = 0.5


def make_checks(settings: Settings) -> list[Check]:
    """Everything that needs no engine."""
    return [
        _check_auricle(),
        _check_packages(),
        _check_cpu(settings),
        check_devices(settings),
        check_engine(settings),
        _check_model(settings),
        _check_data(settings),
    ]


def check_self(settings: Settings) -> Check:
    """Transcribe an example with the embedded model, in a process of the engine that the default model has."""
    sample = list_samples()[0]
    start = time.monotonic()
    try:
        engine = chosen_engine(settings, find_default_model(settings)).engine
        nano = settings.model_copy(update={"model": NANO, "engine": engine})
        transcript = asyncio.run(_transcribe(sample.path, nano))
    except AuricleError as error:
        return Check("self-test", False, error.message, {"error": error.code, "message": error.message})
    elapsed = time.monotonic() - start
    wrong, words = count_word_errors(sample.text, transcript.text)
    return Check(
        "self-test",
        wrong < _BROKEN_FROM * words,
        f"{sample.path.name}: {transcript.text!r}, {wrong} of {words} words wrong, "
        f"{elapsed:.1f} s with the start of {engine}",
        {
            "engine": engine,
            "text": transcript.text,
            "reference": sample.text,
            "wrong_words": wrong,
            "words": words,
            "seconds": elapsed,
        },
    )


async def _transcribe(path: Path, settings: Settings) -> Transcript:
    runtime = open_runtime(settings)
    try:
        request = RequestInfo(request_id=uuid.uuid4().hex)
        return await runtime.transcriber.run(path, TranscribeOptions(), model=None, request=request)
    finally:
        await runtime.close()


def _check_auricle() -> Check:
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return Check(
        "auricle",
        True,
        f"{__version__}, Python {platform.python_version()}, {system}",
        {"version": __version__, "python": platform.python_version(), "system": system},
    )


def _check_packages() -> Check:
    versions = {name: _version(name) for name in _PACKAGES}
    missing = [name for name, found in versions.items() if found is None]
    versions |= {name: found for name in _OPTIONAL if (found := _version(name)) is not None}
    text = ", ".join(f"{name} {found or 'MISSING'}" for name, found in versions.items())
    libraries = _ffmpeg_libraries()
    return Check(
        "packages",
        not missing,
        f"{text}; FFmpeg {', '.join(f'{name} {number}' for name, number in libraries.items())}",
        {"versions": versions, "ffmpeg": libraries},
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _ffmpeg_libraries() -> dict[str, str]:
    try:
        import av
    except ImportError:
        return {}
    wanted = ("libavcodec", "libavformat", "libswresample")
    return {name: ".".join(map(str, av.library_versions[name])) for name in wanted if name in av.library_versions}


def _check_cpu(settings: Settings) -> Check:
    flags = [flag for flag in _CPU_FLAGS if flag in cpu_features()]
    threads = settings.threads or os.cpu_count() or 1
    return Check(
        "cpu",
        True,
        f"{os.cpu_count()} cores, engine threads {threads}, {' '.join(flags) or 'features unknown'}",
        {"cores": os.cpu_count(), "threads": threads, "features": flags},
    )


def _check_model(settings: Settings) -> Check:
    return checked("model", lambda: _describe_model(settings))


def _describe_model(settings: Settings) -> tuple[str, dict[str, object]]:
    name = default_model_name(settings)
    found = find_model(name, data_dir=settings.data_dir, allow_local=True)
    on_disk = [model.name for model in list_models(settings.data_dir)]
    where = f"in {found.path}" if found else f"not on disk; `auricle models pull {name}` downloads it"
    optimized = find_optimized(found.path, settings.data_dir) if found else None
    obstacle = optimized.obstacle(found.path) if found and optimized else ""
    text = f"default {name}, {where}; on disk: {', '.join(on_disk)}"
    if optimized:
        text += f"\n      optimized encoder: {f'not used, {obstacle}' if obstacle else summarise(optimized.about)}"
    return text, {
        "default": name,
        "folder": str(found.path) if found else None,
        "on_disk": on_disk,
        "optimized": {**asdict(optimized.about), "problem": obstacle or None} if optimized else None,
    }


def _check_data(settings: Settings) -> Check:
    folder = settings.data_dir
    present = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    is_writable = present.is_dir() and os.access(present, os.W_OK)
    free = shutil.disk_usage(present).free
    remark = "" if free > _TOO_LITTLE_BYTES else ", too little for large models"
    return Check(
        "data",
        is_writable,
        f"{folder}{'' if is_writable else ' cannot be written'}, {free / 1e9:.1f} GB free{remark}",
        {"folder": str(folder), "writable": is_writable, "free_bytes": free},
    )
