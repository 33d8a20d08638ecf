"""What a model takes of a device's memory, and how many slots are left room for. Needs no PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from auricle.engines.checkpoint import Shape
from auricle.errors import EngineOutOfMemory

BUCKETS = (8, 16, 32, 64, 96, 128)
"""Numbers of slots that an engine chooses from."""

_RESERVE = 0.08
"""Share of the free memory that is left alone: captured graphs, libraries' work space, fragments."""
_ENCODER_COPIES = 14
"""Tensors of an encoder layer that are alive at once, in widths of the model: input, qkv, twice the wide one."""
_LOGIT_COPIES = 4
"""Logits, log-probabilities, the masked ones, and what sorting or sampling makes of them."""
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeed:
    """Bytes that a model takes; see ``estimate``."""

    weights: int
    workspace: int
    """Of the encoder, while windows join."""
    slot: int
    """Of every slot: keys and values, queries kept for the times of words, and its logits."""

    def total(self, slots: int) -> int:
        """With ``slots`` slots."""
        return self.weights + self.workspace + slots * self.slot


def estimate(shape: Shape, *, value_bytes: int, weight_bytes: float, windows: int, alignment_heads: int) -> MemoryNeed:
    """What a model takes whose numbers have ``value_bytes``, and whose layers' weights have ``weight_bytes`` each.

    ``windows`` are encoded at once.
    """
    width, positions = shape.d_model, shape.audio_positions
    in_layers = 12 * width**2 * shape.encoder_layers + 16 * width**2 * shape.decoder_layers
    others = width * (shape.vocabulary + 3 * shape.n_mels + 3 * width + positions + shape.text_positions)
    cross = 2 * shape.decoder_layers * positions * width
    own = (2 * shape.decoder_layers * width + alignment_heads * shape.head_size) * shape.text_positions
    return MemoryNeed(
        weights=int(in_layers * weight_bytes + others * value_bytes),
        # Keys and values of the windows are there once more before they are in their slots.
        workspace=windows * (_ENCODER_COPIES * positions * width + cross) * value_bytes,
        slot=(cross + own) * value_bytes + _LOGIT_COPIES * 4 * shape.vocabulary,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """What there is room for."""

    slots: int
    windows: int
    """To be encoded at once."""


def plan_memory(
    need: Callable[[int], MemoryNeed], free_bytes: int, *, asked: int, most: int, windows: int
) -> MemoryPlan:
    """``asked`` slots; for 0 the largest bucket that fits into ``free_bytes``, up to ``most``.

    ``need`` tells what the model takes by the windows that are encoded at once: ``windows``, or fewer where there
    would be no room for slots. Raises EngineOutOfMemory where what is asked for does not fit, or not even the
    smallest bucket does.
    """
    usable = int(free_bytes * (1 - _RESERVE))
    least = asked or BUCKETS[0]
    while windows > 1 and need(windows).total(least) > usable:
        windows //= 2
    found = need(windows)
    if found.total(least) > usable:
        fitting = max(0, usable - found.total(0)) // found.slot
        raise EngineOutOfMemory(
            f"the model needs {_gib(found.total(0))} and {_gib(found.slot)} for each of {least} slots, "
            f"but only {_gib(usable)} of memory can be used, which is enough for {fitting}; "
            "take a smaller model, a smaller number format, fewer slots (max_batch), or another device"
        )
    fitting_buckets = [bucket for bucket in BUCKETS if bucket <= most and found.total(bucket) <= usable]
    return MemoryPlan(slots=asked or max(fitting_buckets), windows=windows)


def free_host_bytes(cgroup: Path = _CGROUP) -> int:
    """Main memory that can still be taken: the machine's, or the container's where that is less."""
    free = psutil.virtual_memory().available
    try:
        limit = int((cgroup / "memory.max").read_text("ascii"))
        used = int((cgroup / "memory.current").read_text("ascii"))
        lines = (cgroup / "memory.stat").read_text("ascii").splitlines()
    except (OSError, ValueError):  # no container, or no limit ("max")
        return free
    cached = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
    return min(free, max(0, limit - used + cached))


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f} GiB"
