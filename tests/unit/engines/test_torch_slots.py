"""Which slots are given, and what a slot holds after rows have branched and moved."""

import pytest

pytest.importorskip("torch")

import torch

from auricle.engines.base import EngineConfig
from auricle.engines.rules import Rules
from auricle.engines.special_tokens import SpecialTokens
from auricle.engines.torch_load import LoadedWhisper, load_torch
from auricle.engines.torch_rules import Stand
from auricle.engines.torch_seats import Seats
from auricle.engines.torch_slots import GOES_ON, TOKEN, SlotPool, StepSize
from samples import NANO

PROMPT = (50258, 50259, 50360)


def itself(slots: int) -> int:
    return slots


def test_the_first_slots_are_given_first_and_those_that_hold_the_window_before_them():
    seats = Seats(4)
    assert seats.take(2, "a") == [0, 1]
    seats.hold([0, 1], "a")
    assert seats.take(1, "b") == [2]
    assert seats.take(2, "c") == []
    seats.free([1])
    assert seats.take(2, "a") == [1, 3]
    assert seats.holders("a") == [0, 1]


def test_a_slot_that_is_given_to_another_window_holds_the_old_one_no_more():
    seats = Seats(1)
    seats.take(1, "a")
    seats.hold([0], "a")
    seats.free([0])
    assert seats.holders("a") == [0]
    seats.take(1, "b")
    assert seats.holders("a") == []


def test_the_last_row_moves_up_when_there_has_been_room_for_a_while():
    seats = Seats(4)
    seats.take(3, "a")
    seats.free([1])
    found = [seats.next_move(itself) for _ in range(6)]
    assert found[:3] == [None] * 3
    assert found[3] == (2, 1)
    seats.move(2, 1)
    assert [seats.next_move(itself) for _ in range(6)] == [None] * 6


def test_nobody_moves_where_steps_would_not_be_narrower():
    seats = Seats(8)
    seats.take(3, "a")
    seats.free([1])
    assert [seats.next_move(lambda slots: max(4, slots)) for _ in range(6)] == [None] * 6


@pytest.fixture(scope="module")
def loaded() -> LoadedWhisper:
    return load_torch(
        EngineConfig(
            engine="torch", model_name="nano", model_path=NANO, device="cpu", compute_type="float32", threads=1
        )
    )


@pytest.fixture
def pool(loaded: LoadedWhisper) -> SlotPool:
    with torch.inference_mode():
        return SlotPool(loaded.model, SpecialTokens.of(loaded.checkpoint), 4, loaded.dtype, loaded.device)


def begin(pool: SlotPool, loaded: LoadedWhisper, slot: int, seed: int) -> Rules:
    """A window of noise, and the prompt."""
    special = SpecialTokens.of(loaded.checkpoint)
    rules = Rules(vocabulary=special.vocabulary, suppressed=(special.no_timestamps,), max_initial=50)
    shape = loaded.model.shape
    noise = torch.randn(1, shape.n_mels, 400, generator=torch.Generator().manual_seed(seed))
    pool.put_window([slot], *loaded.model.cross(loaded.model.encode(noise)))
    pool.prefill([slot], [PROMPT[:-1]], [0], context=200)
    pool.put({slot: Stand(prompt=PROMPT, rules=rules, limit=100)})
    return rules


def step(pool: SlotPool, slots: int, length: int) -> list[int]:
    size = StepSize(slots=slots, length=length, context=200, is_short=False, is_hot=False, has_words=True)
    return pool.step(size, {}).read()[TOKEN, :slots].astype(int).tolist()


@torch.inference_mode()
def test_a_row_decodes_the_same_in_any_slot_beside_any_other(pool: SlotPool, loaded: LoadedWhisper):
    begin(pool, loaded, 0, seed=1)
    alone = [step(pool, 1, 3 + n)[0] for n in range(6)]
    begin(pool, loaded, 2, seed=1)
    begin(pool, loaded, 0, seed=2)
    assert [step(pool, 3, 3 + n)[2] for n in range(6)] == alone


@torch.inference_mode()
def test_a_row_that_moves_goes_on_where_it_was(pool: SlotPool, loaded: LoadedWhisper):
    begin(pool, loaded, 0, seed=1)
    begin(pool, loaded, 3, seed=1)
    found = [step(pool, 4, 3 + n) for n in range(3)]
    pool.move(3, 1, length=6, context=200)
    found += [step(pool, 2, 6 + n) for n in range(4)]
    assert all(tokens[0] == tokens[3 if n < 3 else 1] for n, tokens in enumerate(found))
    assert torch.equal(pool.queries[0, 2:9], pool.queries[1, 2:9])


@torch.inference_mode()
def test_a_branch_goes_on_from_its_source(pool: SlotPool, loaded: LoadedWhisper):
    rules = begin(pool, loaded, 0, seed=1)
    tokens = [step(pool, 1, 3 + n)[0] for n in range(4)]
    pool.copy_window(0, [2], 200)
    pool.branch([0], [2], 6)
    pool.put({2: Stand(prompt=PROMPT, rules=rules, limit=100, text=tokens)})
    found = [step(pool, 3, 7 + n) for n in range(3)]
    assert all(both[0] == both[2] for both in found)


@torch.inference_mode()
def test_a_slot_that_is_free_reports_nothing(pool: SlotPool, loaded: LoadedWhisper):
    begin(pool, loaded, 1, seed=1)
    size = StepSize(slots=2, length=3, context=200, is_short=False, is_hot=False, has_words=False)
    assert pool.step(size, {}).read()[GOES_ON, :2].tolist() == [0, 1]
    pool.free([1])
    assert pool.step(size, {}).read()[GOES_ON, :2].tolist() == [0, 0]
