import asyncio
from collections.abc import Sequence

import pytest
from scheduler_bench import FEATURES, INFO, Bench, ScriptedEngine, settle, until

from auricle.batching.device import Devices
from auricle.batching.engine_slot import StartEngine
from auricle.batching.replica import AnswerRow
from auricle.batching.scheduler import Scheduler
from auricle.errors import (
    Busy,
    DeadlineExceeded,
    EngineFailed,
    EngineOutOfMemory,
    ModelLoading,
    ModelNotFound,
)
from auricle.types import Answer, DecodingOptions, Priority, RequestInfo, Row


async def test_rows_that_come_together_share_a_batch_and_get_their_own_answers(bench: Bench):
    answers = await asyncio.gather(*(bench.ask(f"r-{n}") for n in range(4)))
    assert [answer.decoding.tokens for answer in answers] == [(0,), (1,), (2,), (3,)]
    assert {answer.batch_rows for answer in answers} == {4}
    assert len(bench.engines[0].batches) == 1


async def test_rows_with_another_key_go_in_another_batch(bench: Bench):
    await asyncio.gather(bench.ask("r-1"), bench.ask("r-2", prompt=(1, 2)), bench.ask("r-3"))
    assert bench.engines[0].batches == [["r-1", "r-3"], ["r-2"]]


async def test_a_partial_batch_keeps_gathering_while_the_engine_works_and_a_full_one_is_sent_ahead(bench: Bench):
    bench.is_gated = True
    tasks = [bench.ask("r-0")]
    await settle()
    tasks += [bench.ask(f"r-{n}") for n in range(1, 4)]
    await settle()
    assert bench.engines[0].sent == 1
    tasks.append(bench.ask("r-4"))
    await settle()
    assert bench.engines[0].sent == 2
    tasks += [bench.ask(f"r-{n}") for n in range(5, 13)]
    await settle()
    assert bench.engines[0].sent == 2, "no more than one batch is sent ahead"
    bench.engines[0].gate.set()
    await asyncio.gather(*tasks)
    assert [len(batch) for batch in bench.engines[0].batches] == [1, 4, 4, 4]


async def test_nothing_is_sent_ahead_of_a_slow_engine_so_that_urgent_rows_can_overtake(bench: Bench):
    bench.seconds = 5.0
    await bench.ask("r-0")
    bench.engines[0].gate.clear()
    tasks = [bench.ask(f"r-{n}") for n in range(1, 9)]
    await until(lambda: bench.engines[0].sent == 2)
    urgent = RequestInfo(request_id="urgent", priority=Priority.REALTIME)
    tasks.append(bench.ask("urgent-9", request=urgent))
    await settle()
    assert bench.engines[0].sent == 2
    bench.engines[0].gate.set()
    await asyncio.gather(*tasks)
    assert bench.engines[0].batches[2][0] == "urgent-9"


async def test_a_crash_costs_one_restart_and_no_request(bench: Bench):
    crashes = [EngineFailed("died")]
    bench.script = lambda keys: crashes.pop() if crashes else None
    answers = await asyncio.gather(*(bench.ask(f"r-{n}") for n in range(4)))
    assert [answer.decoding.tokens for answer in answers] == [(0,), (1,), (2,), (3,)]
    assert bench.loads == 2
    assert bench.metric("auricle_engine_restarts_total") == 1


async def test_a_batch_that_was_sent_ahead_of_a_crash_is_not_blamed_for_it(bench: Bench):
    """It has both of its tries left, although every batch before it died twice."""
    bench.script = lambda keys: EngineFailed("died") if "bad-0" in keys else None
    bench.is_gated = True
    bad = bench.ask("bad-0")
    await settle()
    good = [bench.ask(f"r-{n}") for n in range(1, 5)]
    await settle()
    assert bench.engines[0].sent == 2
    bench.is_gated = False
    bench.engines[0].gate.set()
    answers = await asyncio.gather(bad, *good, return_exceptions=True)
    assert isinstance(answers[0], EngineFailed)
    assert [answer.decoding.tokens for answer in answers[1:] if isinstance(answer, Answer)] == [(1,), (2,), (3,), (4,)]


async def test_a_row_that_always_crashes_does_not_fail_its_neighbours(bench: Bench):
    bench.script = lambda keys: EngineFailed("died") if "bad-2" in keys else None
    keys = ["r-0", "r-1", "bad-2", "r-3"]
    answers = await asyncio.gather(*(bench.ask(key) for key in keys), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Answer, Answer, EngineFailed, Answer]


async def test_an_engine_that_always_fails_fails_every_waiter_and_the_next_batch_runs(bench: Bench):
    is_broken = True
    bench.script = lambda keys: EngineFailed("died") if is_broken else None
    answers = await asyncio.gather(*(bench.ask(f"r-{n}") for n in range(4)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [EngineFailed] * 4
    assert bench.loads == 4, "two tries of the batch and two single rows are enough to know"
    is_broken = False
    assert (await bench.ask("r-7")).decoding.tokens == (7,)


async def test_out_of_memory_halves_the_batch_and_later_batches_stay_small(bench: Bench):
    bench.script = lambda keys: EngineOutOfMemory("full") if len(keys) > 1 else None
    answers = await asyncio.gather(*(bench.ask(f"r-{n}") for n in range(4)))
    assert [answer.decoding.tokens for answer in answers] == [(0,), (1,), (2,), (3,)]
    bench.engines[0].batches.clear()
    await asyncio.gather(*(bench.ask(f"r-{n}") for n in range(3)))
    assert bench.engines[0].batches == [["r-0"], ["r-1"], ["r-2"]]
    assert bench.loads == 1


async def test_a_row_for_which_memory_never_suffices_gets_engine_out_of_memory(bench: Bench):
    bench.script = lambda keys: EngineOutOfMemory("full") if "big-1" in keys else None
    answers = await asyncio.gather(bench.ask("r-0"), bench.ask("big-1"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Answer, EngineOutOfMemory]


async def test_an_unexpected_error_reaches_those_who_wait_and_the_next_batch_runs(
    bench: Bench, caplog: pytest.LogCaptureFixture
):
    errors: list[BaseException] = [ZeroDivisionError("a bug")]
    bench.script = lambda keys: errors.pop() if errors else None
    with pytest.raises(EngineFailed, match="a bug"):
        await bench.ask("r-0")
    assert "ZeroDivisionError" in caplog.text
    assert (await bench.ask("r-1")).decoding.tokens == (1,)


async def test_a_load_that_fails_fails_all_waiters_and_is_tried_again_at_the_next_request(bench: Bench):
    bench.load_errors = [ModelNotFound("no such model")]
    answers = await asyncio.gather(bench.ask("r-0"), bench.ask("r-1"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ModelNotFound] * 2
    assert (await bench.ask("r-2")).decoding.tokens == (2,)
    assert bench.loads == 2


async def test_a_restart_that_fails_fails_all_who_wait(bench: Bench):
    bench.script = lambda keys: EngineFailed("died")
    bench.is_gated = True
    tasks = [bench.ask("r-0")]
    await settle()
    tasks += [bench.ask(f"r-{n}", prompt=(1,) * n) for n in range(1, 4)]
    await settle()
    bench.load_errors = [ModelNotFound("the folder is gone")]
    bench.engines[0].gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [ModelNotFound] * 4


async def test_an_engine_that_died_while_idle_is_replaced_at_next_use(bench: Bench):
    await bench.ask("r-0")
    bench.engines[0].alive = False
    assert not bench.scheduler.alive
    assert (await bench.ask("r-1")).decoding.tokens == (1,)
    assert bench.loads == 2


async def test_a_cancelled_call_frees_its_row_at_once(bench: Bench):
    bench.is_gated = True
    running = bench.ask("r-0")
    await settle()
    queued = bench.ask("r-1")
    await settle()
    assert bench.metric("auricle_queue_rows") == 1
    queued.cancel()
    await settle()
    assert bench.metric("auricle_queue_rows") == 0
    bench.engines[0].gate.set()
    await running
    assert bench.engines[0].batches == [["r-0"]]


async def test_a_call_cancelled_during_a_batch_is_not_tried_again(bench: Bench):
    crashes = [EngineFailed("died")]
    bench.script = lambda keys: crashes.pop() if crashes else None
    bench.is_gated = True
    gone, stays = bench.ask("r-0"), bench.ask("r-1")
    await settle()
    gone.cancel()
    bench.is_gated = False
    bench.engines[0].gate.set()
    assert (await stays).decoding.tokens == (1,)
    assert bench.engines[1].batches == [["r-1"]]


async def test_a_row_past_its_deadline_is_not_decoded(bench: Bench):
    await bench.scheduler.start()
    with pytest.raises(DeadlineExceeded):
        await bench.ask("r-0", request=RequestInfo(request_id="late", deadline=0.0))
    assert bench.engines[0].batches == []


async def test_info_is_known_only_when_the_model_is_loaded(bench: Bench):
    with pytest.raises(ModelLoading):
        _ = bench.scheduler.info
    assert await bench.scheduler.start() == INFO
    assert bench.scheduler.info == INFO


async def test_concurrent_starts_load_once(bench: Bench):
    await asyncio.gather(*(bench.scheduler.start() for _ in range(5)))
    assert bench.loads == 1


async def test_a_start_that_is_given_up_goes_on_for_the_others(bench: Bench):
    first, second = asyncio.create_task(bench.scheduler.start()), asyncio.create_task(bench.scheduler.start())
    await asyncio.sleep(0)
    first.cancel()
    assert await second == INFO


async def test_drain_waits_for_requests_in_progress_and_admits_no_more(bench: Bench):
    with bench.scheduler.admit(RequestInfo(request_id="1")):
        draining = asyncio.create_task(bench.scheduler.drain())
        await settle()
        assert not draining.done()
        with pytest.raises(Busy), bench.scheduler.admit(RequestInfo(request_id="2")):
            pass
        assert (await bench.ask("r-0")).decoding.tokens == (0,), "what is in progress goes on"
    await draining


async def test_drain_of_an_idle_scheduler_returns(bench: Bench):
    await bench.ask("r-0")
    await bench.scheduler.drain()


async def test_close_fails_what_runs_and_what_waits(bench: Bench):
    bench.is_gated = True
    tasks = [bench.ask("r-0")]
    await settle()
    tasks.append(bench.ask("r-1"))
    await settle()
    await bench.scheduler.close()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Busy, Busy]
    with pytest.raises(Busy):
        await bench.ask("r-2")
    assert bench.loads == 1
    await bench.scheduler.close()


async def test_close_ends_a_load_in_progress(bench: Bench):
    task = bench.ask("r-0")
    await asyncio.sleep(0)
    await bench.scheduler.close()
    with pytest.raises(Busy):
        await task
    assert bench.engines == []


async def test_an_engine_that_hangs_is_ended_and_its_rows_are_decoded_by_the_next(bench: Bench):
    bench.scheduler = Scheduler(bench.start_engine, metrics=bench.metrics, batch_timeout_s=0.01)
    bench.is_gated = True
    tasks = [bench.ask("r-0"), bench.ask("r-1")]
    await until(lambda: bench.loads == 1)
    bench.is_gated = False
    answers = await asyncio.gather(*tasks)
    assert [answer.decoding.tokens for answer in answers] == [(0,), (1,)]
    assert bench.loads == 2
    assert not bench.engines[0].alive


async def test_two_models_on_one_device_never_work_at_once_and_the_lower_rank_goes_first(bench: Bench):
    devices, working, order = Devices(), set[str](), list[str]()

    def engine(name: str) -> StartEngine:
        async def start() -> ScriptedEngine:
            engine = ScriptedEngine(lambda keys: None)
            decode = engine.decode

            async def watched(rows: Sequence[Row], answer: AnswerRow) -> float:
                assert not working, f"{name} works beside {working}"
                working.add(name)
                order.append(name)
                await settle()
                working.remove(name)
                return await decode(rows, answer)

            engine.decode = watched
            return engine

        return start

    large, small = (
        Scheduler(engine(name), metrics=bench.metrics, devices=devices, rank=rank)
        for name, rank in [("large", 5.0), ("small", 1.0)]
    )
    await asyncio.gather(large.start(), small.start())

    async def ask(scheduler: Scheduler, number: int, priority: Priority = Priority.INTERACTIVE) -> None:
        row = Row(key=f"r-{number}", features=FEATURES, prompt=(1,) * number, options=DecodingOptions())
        request = RequestInfo(request_id=str(number), priority=priority)
        await scheduler.decode(row, request, remaining_s=1.0)

    await asyncio.gather(*(ask(scheduler, number) for scheduler in (large, small) for number in range(3)))
    assert order == ["small", "small", "small", "large", "large", "large"]
    order.clear()
    await asyncio.gather(ask(small, 0), ask(large, 0, Priority.REALTIME))
    assert order == ["large", "small"], "an urgent class goes before a small model"
    await asyncio.gather(large.close(), small.close())


async def test_metrics_count_rows_batches_and_times(bench: Bench):
    bench.seconds = 0.5
    await asyncio.gather(*(bench.ask(f"r-{n}") for n in range(3)))
    assert bench.metric("auricle_windows_total") == 3
    assert bench.metric("auricle_batch_rows_sum") == 3
    assert bench.metric("auricle_batch_rows_count") == 1
    assert bench.metric("auricle_inference_seconds_sum") == 0.5
    assert bench.metric("auricle_queue_seconds_count") == 3
