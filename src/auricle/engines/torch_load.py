"""From a model's folder to a Whisper in PyTorch: device, number format, weights, room for slots.

Options of ``EngineConfig.options``, all strings:

``compile``    ``on`` compiles the encoder and the steps of the decoder (``torch.compile``); ``off`` by default
``quantize``   ``int8`` or ``fp8`` keeps the weights of the layers in 8 bits, by torchao; ``off`` by default
``attention``  ``sdpa`` is PyTorch's; ``flash`` is the package flash-attn in the decoder's steps; ``auto``, the default,
               takes the faster of them where flash-attn is installed and can be used

Weights go to the device layer by layer, so that the main memory holds one layer of them at a time.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# PyTorch's functions carry incomplete types.

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch

from auricle.engines.base import EngineConfig
from auricle.engines.checkpoint import Checkpoint
from auricle.engines.checkpoint_files import read_checkpoint
from auricle.engines.torch_attention import FlashStep
from auricle.engines.torch_memory import MemoryNeed, estimate, free_host_bytes, plan_memory
from auricle.engines.torch_model import Whisper
from auricle.engines.torch_trial import find_flash, is_faster, run_once, try_out
from auricle.engines.torch_weights import Quantize, fill, find_quantizer
from auricle.errors import EngineFailed, EngineOutOfMemory, InvalidOption

COMPUTE_TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

_MOST_SLOTS = {"cpu": 8, "mps": 32, "cuda": 128}
"""Where more do not pay: a processor's memory is soon the limit."""
_WINDOWS = {"cpu": 1, "mps": 2, "cuda": 8}
"""That are encoded at once: one keeps a processor busy, and a few of them a large GPU."""

Attention = Literal["auto", "sdpa", "flash"]
_ATTENTIONS = ("auto", "sdpa", "flash")
_QUANTIZE = ("off", "int8", "fp8")
_SWITCH = {"on": True, "true": True, "1": True, "yes": True, "off": False, "false": False, "0": False, "no": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchOptions:
    """See the module."""

    compile: bool = False
    quantize: Quantize = "off"
    attention: Attention = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedWhisper:
    """A model that has shown that it runs."""

    model: Whisper
    checkpoint: Checkpoint
    device: torch.device
    compute_type: str
    """One of ``COMPUTE_TYPES``, settled."""
    slots: int
    """That memory has room for, or that were asked for."""
    windows: int
    """To be encoded at once."""

    @property
    def dtype(self) -> torch.dtype:
        """Of keys and values."""
        return self.model.dtype


def load_torch(config: EngineConfig) -> LoadedWhisper:
    """The model of ``config``, on its device and tried out.

    Raises InvalidOption for a device, number format or option that is not to be had here, EngineNotInstalled for an
    option whose package is missing, EngineFailed for damaged files, EngineOutOfMemory where there is too little room.
    """
    options = read_options(config.options)
    device = choose_device(config.device, config.device_index)
    compute_types = choose_compute_types(config.compute_type, device.type, _cuda_level(device))
    if device.type == "cpu":
        torch.set_num_threads(config.threads or os.cpu_count() or 1)
    try:
        checkpoint = read_checkpoint(config.model_path)
        _check(checkpoint)
    except EngineFailed as error:
        raise EngineFailed(f"{config.model_name} cannot be loaded: {error.message}") from error
    *better, last = compute_types
    for compute_type in better:
        try:
            return _load(config, options, checkpoint, device, compute_type)
        except InvalidOption as error:
            if error.param != "compute_type":
                raise
        _free_cached(device)
    return _load(config, options, checkpoint, device, last)


def read_options(given: Mapping[str, str]) -> TorchOptions:
    """The options by name; those that are not named are of other engines. Raises InvalidOption for other values."""
    chosen = given.get("compile", "off").lower()
    if chosen not in _SWITCH:
        raise InvalidOption(f"compile={chosen!r} is neither 'on' nor 'off'", param="compile")
    return TorchOptions(
        compile=_SWITCH[chosen],
        quantize=cast("Quantize", _one_of("quantize", given.get("quantize", "off"), _QUANTIZE)),
        attention=cast("Attention", _one_of("attention", given.get("attention", "auto"), _ATTENTIONS)),
    )


def choose_device(asked: str, index: int) -> torch.device:
    """The device that is asked for; ``auto`` is CUDA, else Apple's GPU, else the processor.

    Raises InvalidOption for one that is not there.
    """
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    if asked == "auto":
        asked = "cuda" if cuda else "mps" if has_mps else "cpu"
    if asked == "cuda":
        if index < cuda:
            return torch.device("cuda", index)
        built = "" if torch.version.cuda else "; this PyTorch was built without CUDA"
        raise InvalidOption(f"there is no CUDA device {index} ({cuda} can be used{built})", param="device")
    if asked == "mps" and not has_mps:
        raise InvalidOption("there is no Apple GPU that PyTorch can use (device 'mps')", param="device")
    if asked not in _MOST_SLOTS:
        raise InvalidOption(f"engine 'torch' runs on cuda, mps and cpu, not on {asked!r}", param="device")
    return torch.device(asked)


def choose_compute_types(asked: str, device: str, cuda_level: tuple[int, int]) -> tuple[str, ...]:
    """Number formats to try, best first: the one asked for; for ``auto`` what suits the device.

    ``cuda_level`` is the device's compute capability. Raises InvalidOption for a name that is none of PyTorch's.
    """
    if asked in COMPUTE_TYPES:
        return (asked,)
    if asked not in {"auto", "default"}:
        hint = "; 8-bit weights are its option quantize=int8" if asked.startswith("int8") else ""
        known = ", ".join(COMPUTE_TYPES)
        raise InvalidOption(f"engine 'torch' has no compute type {asked!r}; it has {known}{hint}", param="compute_type")
    if device == "cpu":
        return ("float32",)
    if device == "mps":
        return ("float16", "float32")
    if cuda_level >= (8, 0):
        return ("bfloat16", "float16", "float32")
    # Before 5.3 there are no products of half numbers.
    return ("float16", "float32") if cuda_level >= (5, 3) else ("float32",)


def _check(checkpoint: Checkpoint) -> None:
    """Raises EngineFailed where the configuration promises more than there is; so much is cheap to find out."""
    shape = checkpoint.shape
    for stack, layers in (("encoder", shape.encoder_layers), ("decoder", shape.decoder_layers)):
        checkpoint.tensor(f"{stack}.{layers - 1}.ffn.norm.bias")
    for layer, head in checkpoint.alignment_heads:
        if not (0 <= layer < shape.decoder_layers and 0 <= head < shape.decoder_heads):
            raise EngineFailed(f"the model has no alignment head ({layer}, {head}), which its configuration names")


def _load(
    config: EngineConfig, options: TorchOptions, checkpoint: Checkpoint, device: torch.device, compute_type: str
) -> LoadedWhisper:
    dtype = COMPUTE_TYPES[compute_type]
    kept = torch.float32 if device.type == "cpu" else dtype  # see ``fill``
    quantizer = find_quantizer(options.quantize)

    def need(windows: int) -> MemoryNeed:
        return estimate(
            checkpoint.shape,
            value_bytes=kept.itemsize,
            weight_bytes=kept.itemsize if options.quantize == "off" else 1,
            windows=windows,
            alignment_heads=len(checkpoint.alignment_heads),
        )

    try:
        plan = plan_memory(
            need,
            _free_bytes(device),
            asked=config.max_batch,
            most=_MOST_SLOTS[device.type],
            windows=_WINDOWS[device.type],
        )
        model = Whisper(checkpoint.shape, checkpoint.alignment_heads)
        fill(model, checkpoint, device, dtype, quantizer)
        if compute_type == "float32":
            torch.backends.cudnn.allow_tf32 = False  # else the convolutions would be rounded to 10 bits
        try_out(model, device, compute_type)
        model.flash = _choose_flash(options.attention, model, device, plan.slots)
        if options.compile:
            _compile(model, device)
    except torch.OutOfMemoryError as error:
        raise EngineOutOfMemory(f"{config.model_name} does not fit into the memory of {device}: {error}") from error
    except EngineOutOfMemory as error:
        raise EngineOutOfMemory(f"{config.model_name} does not fit on {device}: {error.message}") from error
    return LoadedWhisper(
        model=model,
        checkpoint=checkpoint,
        device=device,
        compute_type=compute_type,
        slots=plan.slots,
        windows=plan.windows,
    )


def _choose_flash(attention: Attention, model: Whisper, device: torch.device, slots: int) -> FlashStep | None:
    found = None if attention == "sdpa" else find_flash(device, model.dtype, required=attention == "flash")
    if found is None or attention == "flash":
        return found
    return found if is_faster(found, model, device, slots) else None


def _compile(model: Whisper, device: torch.device) -> None:
    for name in ("encode", "step"):
        setattr(model, name, torch.compile(getattr(model, name)))
    try:
        run_once(model, device)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ImportError, OSError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InvalidOption(f"the model cannot be compiled here: {first_line[:300]}", param="compile") from error


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return free_host_bytes()


def _free_cached(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def _cuda_level(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise InvalidOption(f"{name}={value!r} is none of: {', '.join(known)}", param=name)
    return value
