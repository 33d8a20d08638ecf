"""The loop for rows that join and leave, without a process."""

from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest

from auricle.engines import worker
from auricle.engines.base import EngineConfig, Ticket
from auricle.engines.fake_slots import FakeSlotEngine
from auricle.engines.wire import Batch, BatchesFailed, BatchStarted, Drop, Load, RowDone
from auricle.errors import EngineFailed, EngineOutOfMemory
from auricle.types import Decoding, DecodingOptions, Row


def row(key: str, seconds: int = 1, beam_size: int = 1) -> Row:
    """It takes ``seconds`` steps, and one for the end."""
    features = np.random.default_rng(0).normal(size=(80, 100 * seconds)).astype(np.float32)
    options = DecodingOptions(beam_size=beam_size, without_timestamps=True)
    return Row(key=key, features=features, prompt=(), options=options)


def batch(batch_id: int, *rows: Row) -> Batch:
    return Batch(id=batch_id, rows=rows)


class Inbox(SimpleQueue[object]):
    """Ends by itself when the worker would wait; ``later`` has messages that come before a step."""

    def __init__(self, *messages: object) -> None:
        for message in messages:
            self.put(message)

    def get(self, block: bool = True, timeout: float | None = None) -> object:
        return None if self.empty() else super().get(block, timeout)


def run(*messages: object, slots: int = 4, **options: str) -> tuple[int, list[object]]:
    options = {"joins": "true"} | options
    config = EngineConfig(engine="fake", model_name="m", model_path=Path(), max_batch=slots, options=options)
    sent: list[object] = []
    status = worker.serve(Inbox(config, *messages), sent.append)
    return status, sent[1:]


def answered(sent: Sequence[object]) -> list[tuple[int, int]]:
    return [(message.batch_id, message.index) for message in sent if isinstance(message, RowDone)]


def started(sent: Sequence[object]) -> list[int]:
    return [message.batch_id for message in sent if isinstance(message, BatchStarted)]


def test_rows_are_answered_as_they_end_not_as_they_came():
    status, sent = run(batch(1, row("long", 9)), batch(2, row("short", 2)), batch(3, row("middle", 5)))
    assert status == 0
    assert answered(sent) == [(2, 0), (3, 0), (1, 0)]


def test_rows_that_do_not_fit_wait_for_a_slot_and_have_not_started():
    _, sent = run(*(batch(number, row(f"{number}", number)) for number in range(1, 7)), slots=4)
    assert [message.batch_id for message in sent if isinstance(message, BatchStarted | RowDone)][:6] == [
        1,
        2,
        3,
        4,
        1,
        5,
    ]
    assert sorted(answered(sent)) == [(number, 0) for number in range(1, 7)]


def test_rows_of_one_batch_join_one_by_one_too():
    _, sent = run(batch(1, *(row(f"{number}", 2) for number in range(6))), slots=4)
    assert answered(sent) == [(1, number) for number in range(6)]


def test_a_row_with_beams_waits_for_as_many_slots_and_those_behind_it_for_it():
    _, sent = run(
        batch(1, row("a", 3)), batch(2, row("b", 2)), batch(3, row("wide", 1, 4)), batch(4, row("c", 1)), slots=4
    )
    assert answered(sent) == [(2, 0), (1, 0), (3, 0), (4, 0)]


def test_steps_and_slots_in_use_are_counted():
    _, sent = run(batch(1, row("a", 3)), batch(2, row("b", 1, 2)), slots=4)
    loads = [message.load for message in sent if isinstance(message, RowDone)]
    assert loads == [Load(steps=2, slot_steps=6), Load(steps=4, slot_steps=8)]


def test_what_nobody_waits_for_any_more_leaves_its_slot():
    _, sent = run(batch(1, row("a", 20)), Drop(batch_id=1), batch(2, row("b", 1)), slots=1)
    assert answered(sent) == [(2, 0)]
    _, sent = run(batch(1, row("a")), Drop(batch_id=7))
    assert answered(sent) == [(1, 0)]


def test_a_row_inside_can_be_dropped(monkeypatch: pytest.MonkeyPatch):
    inbox = Inbox(
        EngineConfig(engine="fake", model_name="m", model_path=Path(), max_batch=1, options={"joins": "true"}),
        batch(1, row("a", 20)),
        batch(2, row("b", 1)),
    )
    steps = 0
    step = FakeSlotEngine.step

    def counted(self: FakeSlotEngine) -> list[tuple[Ticket, Decoding]]:
        nonlocal steps
        steps += 1
        if steps == 3:
            inbox.put(Drop(batch_id=1))
        return step(self)

    monkeypatch.setattr(FakeSlotEngine, "step", counted)
    sent: list[object] = []
    assert worker.serve(inbox, sent.append) == 0
    assert answered(sent) == [(2, 0)]
    assert steps == 5


def test_an_exception_fails_those_inside_and_ends_the_loop(capfd: pytest.CaptureFixture[str]):
    status, sent = run(
        batch(1, row("good", 5)), batch(2, row("bad", 5)), batch(3, row("waits")), raise_on_key="bad", slots=2
    )
    assert status == 1
    failed = sent[-1]
    assert isinstance(failed, BatchesFailed)
    assert failed.batch_ids == (1, 2)
    assert isinstance(failed.error, EngineFailed)
    assert "asked to raise" in failed.error.message
    assert started(sent) == [1, 2]
    assert "Traceback" in capfd.readouterr().err


def test_too_many_rows_for_the_memory_fail_together_and_the_engine_goes_on():
    status, sent = run(batch(1, row("a")), batch(2, row("b")), batch(3, row("c")), oom_above="1", slots=2)
    assert status == 0
    failed = [message for message in sent if isinstance(message, BatchesFailed)]
    assert [(message.batch_ids, message.slots) for message in failed] == [((1, 2), 2)]
    assert isinstance(failed[0].error, EngineOutOfMemory)
    assert answered(sent) == [(3, 0)]


def test_a_row_that_is_alone_and_too_large_is_told_so():
    _, sent = run(batch(1, row("a")), batch(2, row("b")), oom_above="0")
    failed = [message for message in sent if isinstance(message, BatchesFailed)]
    assert [(message.batch_ids, message.slots) for message in failed] == [((1, 2), 2)]
    _, sent = run(batch(1, row("a")), oom_above="0")
    failed = [message for message in sent if isinstance(message, BatchesFailed)]
    assert [(message.batch_ids, message.slots) for message in failed] == [((1,), 0)]


def test_a_row_with_more_beams_than_there_are_slots_fails_alone():
    status, sent = run(batch(1, row("wide", 1, 5)), batch(2, row("b")), slots=4)
    assert status == 0
    failed = [message for message in sent if isinstance(message, BatchesFailed)]
    assert [(message.batch_ids, message.slots) for message in failed] == [((1,), 0)]
    assert answered(sent) == [(2, 0)]


def test_where_memory_is_short_at_joining_fewer_join_at_once(monkeypatch: pytest.MonkeyPatch):
    join = FakeSlotEngine.join
    offers: list[int] = []

    def narrow(self: FakeSlotEngine, waiting: Sequence[tuple[Ticket, Row]]) -> int:
        offers.append(len(waiting))
        if len(waiting) > 1:
            raise RuntimeError("CUDA out of memory")
        return join(self, waiting)

    monkeypatch.setattr(FakeSlotEngine, "join", narrow)
    status, sent = run(batch(1, row("a"), row("b"), row("c")))
    assert status == 0
    assert answered(sent) == [(1, 0), (1, 1), (1, 2)]
    assert offers[:2] == [3, 1]


def test_an_engine_that_loses_a_row_has_failed(monkeypatch: pytest.MonkeyPatch):
    def forget(self: FakeSlotEngine) -> list[tuple[Ticket, Decoding]]:
        self.clear()
        return []

    monkeypatch.setattr(FakeSlotEngine, "step", forget)
    status, sent = run(batch(1, row("a")))
    assert status == 1
    assert isinstance(sent[-1], BatchesFailed)
    assert "lost 1 rows" in sent[-1].error.message


def test_an_engine_that_takes_no_row_has_failed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(FakeSlotEngine, "join", lambda self, waiting: 0)
    status, sent = run(batch(1, row("a")))
    assert status == 1
    assert isinstance(sent[-1], BatchesFailed)
    assert sent[-1].batch_ids == (1,)
