"""The engine's process and its faults, with the fake engine; tests/contract has what every engine must do."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from auricle.batching.replica import BatchNotStarted, Replica, start_replica
from auricle.engines.base import EngineConfig
from auricle.errors import EngineFailed, EngineOutOfMemory, InvalidOption, ModelLoading
from auricle.types import Decoding, DecodingOptions, Row


def replica_of(**options: str) -> Replica:
    return Replica(EngineConfig(engine="fake", model_name="m", model_path=Path(), options=options))


def rows(*keys: str, n_frames: int = 300) -> list[Row]:
    features = np.random.default_rng(0).normal(size=(80, n_frames)).astype(np.float32)
    return [Row(key=key, features=features, prompt=(), options=DecodingOptions()) for key in keys]


def ignore(index: int, decoding: Decoding, seconds: float) -> None:
    pass


@pytest.fixture
async def replicas() -> AsyncIterator[list[Replica]]:
    started: list[Replica] = []
    yield started
    for replica in started:
        await replica.close()


async def start(replicas: list[Replica], **options: str) -> Replica:
    replica = replica_of(**options)
    replicas.append(replica)
    await replica.start()
    return replica


async def begin(replica: Replica) -> None:
    """Wait until the engine works on what was sent last."""
    await asyncio.sleep(0)
    while not all(pending.is_running for pending in replica._pending.values()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_answers_come_row_by_row_in_order(replicas: list[Replica]):
    replica = await start(replicas)
    seen: list[int] = []
    await replica.decode(rows("a", "b", "c"), lambda index, decoding, seconds: seen.append(index))
    assert seen == [0, 1, 2]


async def test_full_windows_of_a_large_batch_cross_unharmed(replicas: list[Replica]):
    replica = await start(replicas)
    batch = rows(*map(str, range(32)), n_frames=3000)
    answers: list[Decoding] = []
    await replica.decode(batch, lambda index, decoding, seconds: answers.append(decoding))
    assert len(answers) == 32
    assert len({answer.tokens for answer in answers}) == 1


async def test_info_is_known_after_the_start(replicas: list[Replica]):
    replica = replica_of()
    with pytest.raises(ModelLoading):
        _ = replica.info
    replicas.append(replica)
    assert await replica.start() == replica.info


async def test_a_crash_fails_the_batch_it_hit_and_spares_the_one_behind(replicas: list[Replica]):
    replica = await start(replicas, crash_on_key="bad", step_delay_s="0.05")
    hit = asyncio.create_task(replica.decode(rows("bad"), ignore))
    behind = asyncio.create_task(replica.decode(rows("good"), ignore))
    with pytest.raises(EngineFailed, match="exit status 70"):
        await hit
    with pytest.raises(BatchNotStarted):
        await behind
    assert not replica.alive


async def test_an_exception_fails_the_batch_with_its_text_and_ends_the_process(replicas: list[Replica]):
    replica = await start(replicas, raise_on_key="bad")
    hit = asyncio.create_task(replica.decode(rows("bad"), ignore))
    behind = asyncio.create_task(replica.decode(rows("good"), ignore))
    with pytest.raises(EngineFailed, match="asked to raise"):
        await hit
    assert not replica.alive
    with pytest.raises(BatchNotStarted):
        await behind


async def test_out_of_memory_leaves_the_process_in_use(replicas: list[Replica]):
    replica = await start(replicas, oom_above="1")
    with pytest.raises(EngineOutOfMemory):
        await replica.decode(rows("a", "b"), ignore)
    assert replica.alive
    await replica.decode(rows("a"), ignore)


async def test_a_kill_is_named_in_the_error(replicas: list[Replica]):
    replica = await start(replicas, step_delay_s="30")
    decoding = asyncio.create_task(replica.decode(rows("a"), ignore))
    await begin(replica)
    assert replica.pid is not None
    os.kill(replica.pid, signal.SIGKILL)
    with pytest.raises(EngineFailed, match="SIGKILL"):
        await decoding


async def test_ctrl_c_does_not_reach_the_engine(replicas: list[Replica]):
    replica = await start(replicas)
    assert replica.pid is not None
    os.kill(replica.pid, signal.SIGINT)
    await replica.decode(rows("a"), ignore)
    assert replica.alive


async def test_a_load_error_comes_back_as_it_was_raised_and_leaves_no_process():
    replica = replica_of(no_such_option="1")
    with pytest.raises(InvalidOption, match="no_such_option"):
        await replica.start()
    assert replica.pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(replica.pid, 0)


async def test_a_foreign_exception_while_loading_is_an_engine_error_that_names_it(tmp_path: Path):
    config = EngineConfig(engine="fake", model_name="m", model_path=tmp_path, options={"load_delay_s": "not a number"})
    with pytest.raises(EngineFailed, match="could not load 'm': ValueError"):
        await start_replica(config)


async def test_a_start_that_is_given_up_leaves_no_process():
    replica = replica_of(load_delay_s="60")
    starting = asyncio.create_task(replica.start())
    while replica.pid is None:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    with pytest.raises(ProcessLookupError):
        os.kill(replica.pid, 0)


async def test_closing_in_the_middle_of_a_batch_tells_its_waiter(replicas: list[Replica]):
    replica = await start(replicas, step_delay_s="60")
    decoding = asyncio.create_task(replica.decode(rows("a"), ignore))
    await begin(replica)
    await replica.close()
    with pytest.raises(EngineFailed, match="process ended"):
        await decoding


async def test_what_a_dying_process_wrote_last_is_in_the_error(replicas: list[Replica]):
    replica = await start(replicas, last_words="the GPU fell off", crash_on_key="bad")
    with pytest.raises(EngineFailed, match="last words: the GPU fell off"):
        await replica.decode(rows("bad"), ignore)


async def test_what_a_process_writes_is_logged_line_by_line_for_debugging(
    replicas: list[Replica], caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, "auricle.batching.replica")
    replica = await start(replicas, last_words="the GPU\n\nfell off", crash_on_key="bad")
    with pytest.raises(EngineFailed):
        await replica.decode(rows("bad"), ignore)
    assert caplog.messages == [f"engine {replica.pid}: the GPU", f"engine {replica.pid}: fell off"]


async def test_a_module_in_the_working_folder_does_not_break_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replicas: list[Replica]
):
    (tmp_path / "queue.py").write_text("raise RuntimeError('the wrong module was imported')")
    monkeypatch.chdir(tmp_path)
    await (await start(replicas)).decode(rows("a"), ignore)
