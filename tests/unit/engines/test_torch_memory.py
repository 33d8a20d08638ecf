from functools import partial
from pathlib import Path

import pytest

from auricle.engines.checkpoint import Shape
from auricle.engines.torch_memory import BUCKETS, estimate, free_host_bytes, plan_memory
from auricle.errors import EngineOutOfMemory

GIB = 2**30


def shape_of(width: int, encoder_layers: int, decoder_layers: int, n_mels: int = 80, vocabulary: int = 51865) -> Shape:
    return Shape(
        n_mels=n_mels,
        d_model=width,
        encoder_layers=encoder_layers,
        encoder_heads=width // 64,
        decoder_layers=decoder_layers,
        decoder_heads=width // 64,
        vocabulary=vocabulary,
        text_positions=448,
        audio_positions=1500,
    )


TINY = shape_of(384, 4, 4)
LARGE = shape_of(1280, 32, 32, 128, 51866)
TURBO = shape_of(1280, 32, 4, 128, 51866)
HALF = partial(estimate, value_bytes=2, weight_bytes=2, alignment_heads=10)


def room(shape: Shape, gib: float, *, asked: int = 0, most: int = 128, weight_bytes: float = 2) -> tuple[int, int]:
    def need(windows: int):
        return estimate(shape, value_bytes=2, weight_bytes=weight_bytes, windows=windows, alignment_heads=10)

    plan = plan_memory(need, int(gib * GIB), asked=asked, most=most, windows=8)
    return plan.slots, plan.windows


@pytest.mark.parametrize(("shape", "millions"), [(TINY, 37.8), (LARGE, 1543.5), (TURBO, 808.9)])
def test_weights_are_as_many_as_the_models_are_said_to_have(shape: Shape, millions: float):
    assert HALF(shape, windows=1).weights / 2e6 == pytest.approx(millions, rel=0.01)


@pytest.mark.parametrize(("shape", "megabytes"), [(LARGE, 245.8), (TURBO, 30.7)])
def test_a_slot_holds_the_window_the_text_and_the_logits(shape: Shape, megabytes: float):
    own = megabytes * 448 / 1500
    logits = 4 * 4 * shape.vocabulary / 1e6
    queries = 448 * 10 * 64 * 2 / 1e6
    assert HALF(shape, windows=1).slot / 1e6 == pytest.approx(megabytes + own + logits + queries, rel=0.01)


def test_slots_by_the_memory_of_usual_devices():
    assert room(LARGE, 139) == (128, 8)
    assert room(LARGE, 24) == (32, 8)
    # Fewer windows at once leave room for the slots.
    slots, windows = room(LARGE, 8)
    assert slots == 8
    assert windows < 8
    assert room(TURBO, 4) == (32, 8)
    assert room(TINY, 4)[0] == 128


def test_a_device_that_is_too_small_is_told_before_anything_is_loaded():
    with pytest.raises(EngineOutOfMemory, match=r"needs .* GiB and .* GiB for each of 8 slots, but only 3\.68 GiB"):
        room(LARGE, 4)


def test_weights_of_8_bits_leave_room_for_more():
    assert room(LARGE, 6, weight_bytes=1)[0] >= 8
    with pytest.raises(EngineOutOfMemory):
        room(LARGE, 6)


def test_what_is_asked_for_is_taken_where_it_fits():
    assert room(LARGE, 24, asked=20) == (20, 8)
    assert room(LARGE, 5, asked=1)[0] == 1
    with pytest.raises(EngineOutOfMemory, match="each of 500 slots"):
        room(LARGE, 24, asked=500)


def test_no_more_slots_than_pay():
    assert room(TINY, 100, most=8)[0] == 8
    assert all(bucket % 8 == 0 for bucket in BUCKETS)


def container(folder: Path, limit: str, used: int, cached: int) -> Path:
    (folder / "memory.max").write_text(limit)
    (folder / "memory.current").write_text(str(used))
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")
    return folder


def test_a_container_has_what_its_limit_leaves(tmp_path: Path):
    everything = free_host_bytes(tmp_path / "none")
    assert everything > 2**20
    assert free_host_bytes(container(tmp_path, "1000000", 600_000, 100_000)) == 500_000
    assert free_host_bytes(container(tmp_path, "1000", 5000, 0)) == 0
    assert free_host_bytes(container(tmp_path, "max", 5000, 0)) == pytest.approx(everything, rel=0.5)
