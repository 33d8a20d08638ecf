"""What ``auricle doctor`` says of the devices, of the engines, and of the choice among them."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from auricle.cli.doctor_check import Check, checked
from auricle.cli.measured import chosen_engine, find_default_model
from auricle.config import Settings
from auricle.engines.builds import GPU_ENGINES, gpu_builds
from auricle.engines.devices import AppleGpu, CudaDevice, apple_gpu, cuda_devices, free_cuda_bytes
from auricle.engines.registry import ENGINES, INSTALL, PACKAGES, installed_engines

_GIB = 2**30


def check_devices(settings: Settings) -> Check:
    """The GPUs that are here; a failure where the settings name one that is not."""
    return describe_devices(
        settings, cuda_devices(), apple_gpu(), [free_cuda_bytes(device) for device in cuda_devices()]
    )


def describe_devices(
    settings: Settings, cuda: Sequence[CudaDevice], apple: AppleGpu | None, free: Sequence[int | None]
) -> Check:
    """See ``check_devices``; ``free`` is the free memory of each CUDA device, where it is known."""
    texts = [_describe_cuda(device, left) for device, left in zip(cuda, free, strict=True)]
    if apple is not None:
        texts.append(f"mps: {apple.name}, shares {apple.memory_bytes / _GIB:.0f} GiB with the processor")
    asked = settings.devices or ((settings.device_index,) if settings.device == "cuda" else ())
    missing = [f"cuda:{index}" for index in asked if index >= len(cuda)]
    found = "; ".join(texts) or "none: no CUDA driver that works, and no Apple chip"
    return Check(
        "gpu",
        not missing,
        f"{found}; not here, though the settings name it: {', '.join(missing)}" if missing else found,
        {
            "cuda": [
                {
                    "index": device.index,
                    "name": device.name,
                    "memory_bytes": device.memory_bytes,
                    "free_bytes": left,
                    "capability": ".".join(map(str, device.capability)),
                }
                for device, left in zip(cuda, free, strict=True)
            ],
            "apple": {"name": apple.name, "memory_bytes": apple.memory_bytes} if apple is not None else None,
            "missing": missing,
        },
    )


def check_engine(settings: Settings) -> Check:
    """The engine of the default model, why it is taken, and what other engines there are."""
    return checked("engine", lambda: _describe_engine(settings))


def _describe_cuda(device: CudaDevice, free: int | None) -> str:
    total = f"{device.memory_bytes / _GIB:.0f} GiB"
    memory = total if free is None else f"{free / _GIB:.0f} of {total} free"
    return f"cuda:{device.index}: {device.name}, {memory}, compute capability {'.'.join(map(str, device.capability))}"


def _describe_engine(settings: Settings) -> tuple[str, dict[str, object]]:
    choice = chosen_engine(settings, find_default_model(settings))
    compute_type = choice.compute_type
    if choice.engine == "ct2":
        from auricle.engines.ct2_device import check_cuda, settle_compute_type

        index = settings.devices[0] if settings.devices else settings.device_index
        if choice.device == "cuda":
            check_cuda(index)
        compute_type = settle_compute_type(compute_type, choice.device, index if choice.device == "cuda" else 0)
    installed = installed_engines()
    engines = {name: _describe_build(name, is_installed=name in installed) for name in ENGINES if name != "fake"}
    where = ", ".join(f"cuda:{index}" for index in settings.devices) or choice.device
    text = f"{choice.engine} on {where}, compute type {compute_type}: {choice.reason}"
    lines = [f"      {name + ':':<10}{state}" for name, state in engines.items()]
    return "\n".join([text, *lines]), {
        "engine": choice.engine,
        "reason": choice.reason,
        "engines": sorted(ENGINES),
        "installed": sorted(installed - {"fake"}),
        "states": engines,
        "device": choice.device,
        "devices": list(settings.devices),
        "compute_type": compute_type,
        "is_measured": choice.is_measured,
    }


def _describe_build(engine: str, *, is_installed: bool) -> str:
    if not is_installed:
        return f"not installed; pip install '{INSTALL[engine]}'"
    able = [device for device, engines in gpu_builds().items() if engine in engines]
    is_for_gpu = any(engine in engines for engines in GPU_ENGINES.values())
    lacks = "" if able or not is_for_gpu else ", built for the CPU only"
    runs_on = "".join(f", can use {device}" for device in able)
    return f"{PACKAGES[engine]} {_version(PACKAGES[engine])}{runs_on}{lacks}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"
