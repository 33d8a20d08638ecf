"""The worker's loop, without a process; tests/contract runs it in one."""

from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest

from auricle.engines import fake_engine, worker, worker_batches
from auricle.engines.base import EngineConfig
from auricle.engines.wire import Batch, BatchesFailed, BatchStarted, Ready, RowDone, StartFailed
from auricle.errors import EngineFailed, EngineOutOfMemory, InvalidOption
from auricle.types import Decoding, DecodingOptions, Row


def batch(batch_id: int, *keys: str) -> Batch:
    features = np.random.default_rng(0).normal(size=(80, 100)).astype(np.float32)
    return Batch(
        id=batch_id, rows=tuple(Row(key=key, features=features, prompt=(), options=DecodingOptions()) for key in keys)
    )


def run(*batches: Batch, engine: str = "fake", **options: str) -> tuple[int, list[object]]:
    config = EngineConfig(engine=engine, model_name="m", model_path=Path(), options=options)
    inbox: SimpleQueue[object] = SimpleQueue()
    for message in (config, *batches, None):
        inbox.put(message)
    sent: list[object] = []
    return worker.serve(inbox, sent.append), sent


def test_it_says_ready_then_answers_row_by_row_in_order():
    status, sent = run(batch(1, "a", "b"), batch(2, "c"))
    assert status == 0
    assert isinstance(sent[0], Ready)
    answers = [(m.batch_id, m.index) if isinstance(m, RowDone) else type(m) for m in sent[1:]]
    assert answers == [BatchStarted, (1, 0), (1, 1), BatchStarted, (2, 0)]


def test_a_batch_that_gives_way_is_done_after_the_one_that_came_meanwhile():
    status, sent = run(batch(1, "a", "b"), batch(2, "c"), gives_way="between_rows")
    assert status == 0
    order = [(type(message), message.batch_id) for message in sent if isinstance(message, BatchStarted | RowDone)]
    assert order == [
        (BatchStarted, 1),
        (BatchStarted, 2),
        (RowDone, 2),
        (BatchStarted, 1),
        (RowDone, 1),
        (RowDone, 1),
    ]


def test_a_batch_gives_way_for_no_longer_than_it_has_run_itself(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(worker_batches, "_HEAD_START_S", 0.0)
    times = iter([0.0, 0.0, 2.0, 2.0, 2.0, 5.0, 5.0, 5.0])  # it ran for 2 s when 3 s went to the next one
    monkeypatch.setattr("time.monotonic", lambda: next(times, 6.0))
    _, sent = run(batch(1, "a"), batch(2, "b"), batch(3, "c"), gives_way="between_rows")
    assert [message.batch_id for message in sent if isinstance(message, RowDone)] == [2, 1, 3]


def test_an_engine_that_fails_in_a_batch_that_went_first_is_not_used_again_and_blames_that_batch_only():
    status, sent = run(batch(1, "a"), batch(2, "bad"), raise_on_key="bad", gives_way="between_rows")
    assert status == 1
    assert [message.batch_ids for message in sent if isinstance(message, BatchesFailed)] == [(2,)]
    assert isinstance(sent[-1], BatchesFailed)


def test_the_end_is_seen_after_a_pause_too():
    status, sent = run(batch(1, "a", "b"), gives_way="between_rows")
    assert status == 0
    assert [type(message) for message in sent[1:]] == [BatchStarted, RowDone, RowDone]


def test_a_load_that_fails_is_told_with_its_error():
    status, sent = run(no_such_option="1")
    assert status == 1
    assert isinstance(sent[0], StartFailed)
    assert isinstance(sent[0].error, InvalidOption)


def test_after_an_exception_the_engine_is_not_used_again(capfd: pytest.CaptureFixture[str]):
    status, sent = run(batch(1, "bad"), batch(2, "good"), raise_on_key="bad")
    assert status == 1
    assert isinstance(sent[-1], BatchesFailed)
    assert sent[-1].batch_ids == (1,)
    assert isinstance(sent[-1].error, EngineFailed)
    assert "asked to raise" in sent[-1].error.message
    assert "Traceback" in capfd.readouterr().err


def test_after_out_of_memory_the_engine_goes_on():
    status, sent = run(batch(1, "a", "b"), batch(2, "c"), oom_above="1")
    assert status == 0
    failures = [message for message in sent if isinstance(message, BatchesFailed)]
    assert [type(failure.error) for failure in failures] == [EngineOutOfMemory]
    assert isinstance(sent[-1], RowDone)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA failed with error out of memory"),
        RuntimeError("cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED"),
        MemoryError("std::bad_alloc"),
    ],
)
def test_out_of_memory_is_known_by_the_words_of_the_libraries(monkeypatch: pytest.MonkeyPatch, error: Exception):
    def decode(self: object, rows: Sequence[Row], pause: object) -> list[Decoding]:
        raise error

    monkeypatch.setattr(fake_engine.FakeEngine, "decode", decode)
    _, sent = run(batch(1, "a"))
    assert isinstance(sent[-1], BatchesFailed)
    assert isinstance(sent[-1].error, EngineOutOfMemory)


def test_an_engine_that_answers_too_few_rows_has_failed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fake_engine.FakeEngine, "decode", lambda self, rows, pause: [Decoding()])
    _, sent = run(batch(1, "a", "b"))
    assert isinstance(sent[-1], BatchesFailed)
    assert "1 of 2 rows" in sent[-1].error.message


def test_it_ends_quietly_when_the_parent_leaves_before_the_first_message():
    inbox: SimpleQueue[object] = SimpleQueue()
    inbox.put(None)
    assert worker.serve(inbox, [].append) == 0
