"""Finds out, by running it once, what a model can do on a device."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingImports=false
# PyTorch's functions carry incomplete types; flash-attn is optional.

import time
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from auricle.engines.torch_attention import FlashStep
from auricle.engines.torch_model import SlotCache, Whisper
from auricle.errors import EngineFailed, EngineNotInstalled, InvalidOption

_FRAMES, _TOKENS, _LENGTH = 64, 3, 64
_STEPS = 8
_OTHERS = {"float16": "float32, or bfloat16 where the device has it", "bfloat16": "float16 or float32"}
"""What to take where a format fails."""


def try_out(model: Whisper, device: torch.device, compute_type: str) -> None:
    """Run the model, whose numbers are of ``compute_type``, once.

    Raises InvalidOption where the device cannot compute in it, EngineFailed where not even float32 works.
    """
    try:
        is_finite = run_once(model, device)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError) as error:
        raise _refusal(compute_type, device, str(error)) from error
    if not is_finite:
        raise _refusal(compute_type, device, "what comes out is not a number")


@torch.inference_mode()
def run_once(model: Whisper, device: torch.device) -> bool:
    """Encode a short window, take a prompt and one token; whether all that comes out is finite."""
    shape = model.shape
    # Loud and quiet at once, as features are.
    features = torch.linspace(-1, 1, shape.n_mels * _FRAMES, device=device).view(1, shape.n_mels, -1)
    cache = SlotCache.allocate(shape, 1, model.dtype, device)
    slots = torch.zeros(1, dtype=torch.int64, device=device)
    cache.put_cross(slots, *model.cross(model.encode(features)))
    tokens = torch.arange(_TOKENS, device=device)[None]
    prompt, _ = model.step(tokens, tokens, cache, slots, length=_LENGTH, short=True)
    hidden, queries = model.step(tokens[:, -1:], tokens[:, -1:] + 1, cache, length=_LENGTH, short=True)
    sums = torch.stack([model.logits(prompt).sum(), model.logits(hidden).sum(), queries.float().sum()])
    return bool(sums.isfinite().all())


def find_flash(device: torch.device, dtype: torch.dtype, *, required: bool) -> FlashStep | None:
    """flash-attn's attention, where it is installed and has such numbers.

    Raises InvalidOption or EngineNotInstalled instead where it is ``required``.
    """
    if device.type != "cuda" or dtype == torch.float32:
        if required:
            raise InvalidOption("flash-attn runs on CUDA only, in float16 or bfloat16", param="attention")
        return None
    try:
        from flash_attn import flash_attn_with_kvcache  # noqa: PLC0415 - optional
    except ImportError as error:
        if required:
            raise EngineNotInstalled(
                f"attention=flash needs the package flash-attn, which cannot be imported ({error}); "
                "install it with: pip install flash-attn --no-build-isolation"
            ) from error
        return None
    return cast("FlashStep", flash_attn_with_kvcache)


@torch.inference_mode()
def is_faster(flash: FlashStep, model: Whisper, device: torch.device, slots: int) -> bool:
    """Whether a step of all slots takes less time with ``flash``; False where it cannot be run."""
    cache = SlotCache.allocate(model.shape, slots, model.dtype, device)
    tokens = torch.zeros(slots, 1, dtype=torch.int64, device=device)

    def step() -> Tensor:
        return model.step(tokens, tokens + 32, cache, length=_LENGTH)[0]

    plain = _seconds(step, device)
    model.flash = flash
    try:
        return _seconds(step, device) < plain
    except RuntimeError:
        return False
    finally:
        model.flash = None


def _seconds(step: Callable[[], Tensor], device: torch.device) -> float:
    """The shortest of a few runs."""
    taken: list[float] = []
    for _ in range(_STEPS):
        began = time.perf_counter()
        step()
        torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - began)
    return min(taken)


def _refusal(kind: str, device: torch.device, why: str) -> InvalidOption | EngineFailed:
    reason = (why.strip() or "no reason given").splitlines()[0][:300]
    if kind not in _OTHERS:
        return EngineFailed(f"PyTorch cannot run the model on {device}: {reason}")
    return InvalidOption(
        f"{device} cannot compute in {kind} ({reason}); use compute type {_OTHERS[kind]}", param="compute_type"
    )
