"""What the scheduler sends to an engine whose rows join and leave, and what becomes of rows when it fails."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from simulated_slots import SlotBench

from auricle.batching.device import Devices
from auricle.errors import Busy, DeadlineExceeded, EngineFailed
from auricle.types import Answer, Priority, RequestInfo


@pytest.fixture
async def bench() -> AsyncIterator[SlotBench]:
    bench = SlotBench()
    yield bench
    await bench.scheduler.close()


async def test_rows_join_at_once_while_there_are_slots(bench: SlotBench):
    first = bench.ask("a:10")
    await bench.steps(3)
    second = bench.ask("b:2")
    await bench.steps(1)
    assert bench.engine.names == ["a:10", "b:2"]
    await bench.run(first, second)
    assert bench.engine.load.steps == 10


async def test_a_row_that_leaves_is_replaced_at_the_next_step(bench: SlotBench):
    tasks = [bench.ask(f"r{number}:{number + 2}") for number in range(20)]
    for _ in range(10):
        await bench.steps()
        assert len(bench.engine.inside) >= 7, "one may have left in this step"
    await bench.run(*tasks)


async def test_one_row_is_sent_ahead_of_a_free_slot_and_no_more(bench: SlotBench):
    tasks = [bench.ask(f"r{number}:5") for number in range(20)]
    await bench.steps()
    assert (len(bench.engine.inside), len(bench.engine.waiting)) == (8, 1)
    await bench.run(*tasks)


async def test_an_urgent_row_overtakes_all_that_wait(bench: SlotBench):
    tasks = [bench.ask(f"r{number}:{number + 3}") for number in range(30)]
    await bench.steps(2)
    urgent = RequestInfo(request_id="urgent", priority=Priority.REALTIME)
    tasks.append(bench.ask("urgent:1", request=urgent))
    await bench.run(tasks[-1])
    assert len(bench.engine.joined) <= 8 + 2
    await bench.run(*tasks)


async def test_rows_with_beams_take_their_slots(bench: SlotBench):
    tasks = [bench.ask(f"r{number}:5", beam_size=4) for number in range(6)]
    await bench.steps()
    assert bench.engine.used == 8
    assert len(bench.engine.inside) == 2
    await bench.run(*tasks)


async def test_the_second_question_about_a_window_goes_before_the_first_about_others(bench: SlotBench):
    tasks = [bench.ask(f"r{number}:{number + 1}") for number in range(9)]
    await bench.steps()
    tasks += [bench.ask(f"w{number}:3") for number in range(9)]
    again = bench.ask("r0:1", remaining_s=1000.0)
    await bench.run(again)
    assert bench.engine.joined.index("r0:1", 1) <= 10
    await bench.run(*tasks)


async def test_a_caller_that_leaves_frees_the_slots_of_its_row(bench: SlotBench):
    gone, stays = bench.ask("gone:100"), bench.ask("stays:3")
    await bench.steps()
    gone.cancel()
    await bench.settle()
    assert bench.engine.left == ["gone:100"]
    await bench.run(stays)
    assert bench.metric("auricle_slots_used") == 0


async def test_a_row_that_is_answered_is_not_taken_for_one_whose_caller_left(bench: SlotBench):
    await bench.run(bench.ask("a:1"))
    assert bench.engine.left == []


async def test_a_row_past_its_deadline_does_not_join(bench: SlotBench):
    await bench.scheduler.start()
    late = bench.ask("late:1", request=RequestInfo(request_id="late", deadline=-1.0))
    with pytest.raises(DeadlineExceeded):
        await late
    assert bench.engine.joined == []


async def test_a_crash_costs_one_restart_and_no_request(bench: SlotBench):
    tasks = [bench.ask(f"r{number}:5") for number in range(20)]
    await bench.steps(2)
    bench.engine.die()
    answers = await bench.run(*tasks)
    assert {type(answer) for answer in answers} == {Answer}
    assert len(bench.engines) == 2
    assert bench.metric("auricle_engine_restarts_total") == 1


async def test_a_row_that_kills_every_engine_fails_alone(bench: SlotBench):
    bench.fatal = lambda keys: "bad:5" in keys
    tasks = [bench.ask(f"r{number}:5") for number in range(6)] + [bench.ask("bad:5")]
    answers = await bench.run(*tasks)
    assert [type(answer) for answer in answers] == [Answer] * 6 + [EngineFailed]
    assert len(bench.engines) <= 4


async def test_rows_that_were_not_inside_when_an_engine_died_have_both_tries_left(bench: SlotBench):
    bench.fatal = lambda keys: "bad:5" in keys
    bad = bench.ask("bad:5")
    await bench.steps(1)
    await bench.steps(1)
    late = bench.ask("late:5")
    answers = await bench.run(bad, late)
    assert [type(answer) for answer in answers] == [EngineFailed, Answer]


async def test_an_engine_that_always_fails_fails_every_waiter_and_later_ones_are_tried_anew(bench: SlotBench):
    bench.fatal = bool
    answers = await bench.run(*(bench.ask(f"r{number}:2") for number in range(5)))
    assert {type(answer) for answer in answers} == {EngineFailed}
    assert len(bench.engines) == 4, "two tries of all and two single rows are enough to know"
    bench.fatal = lambda keys: False
    (answer,) = await bench.run(bench.ask("later:2"))
    assert isinstance(answer, Answer)


async def test_where_memory_is_short_fewer_slots_are_used(bench: SlotBench):
    bench.most_rows = 3
    answers = await bench.run(*(bench.ask(f"r{number}:4") for number in range(12)))
    assert {type(answer) for answer in answers} == {Answer}
    assert len(bench.engines) == 1
    assert bench.metric("auricle_slots") == 2


async def test_an_engine_that_hangs_is_ended_and_its_rows_are_decoded_by_the_next():
    bench = SlotBench()
    bench.scheduler = bench.make_scheduler(batch_timeout_s=0.2)
    tasks = [bench.ask("a:3"), bench.ask("b:3")]
    await bench.settle()
    while len(bench.engines) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    answers = await bench.run(*tasks)
    assert {type(answer) for answer in answers} == {Answer}
    assert not bench.engines[0].alive
    await bench.scheduler.close()


async def test_close_fails_what_is_inside_and_what_waits(bench: SlotBench):
    tasks = [bench.ask(f"r{number}:5") for number in range(12)]
    await bench.steps(2)
    await bench.scheduler.close()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Busy] * 12
    with pytest.raises(Busy):
        await bench.ask("later:1")
    assert len(bench.engines) == 1
    await bench.scheduler.close()


async def test_drain_waits_for_rows_inside(bench: SlotBench):
    task = bench.ask("a:3")
    await bench.steps()
    draining = asyncio.create_task(bench.scheduler.drain())
    await bench.settle()
    assert not draining.done()
    await bench.run(task)
    await draining


async def test_while_another_model_wants_the_device_no_row_joins_and_the_turn_ends_when_all_have_left():
    devices = Devices()
    bench = SlotBench()
    bench.scheduler = bench.make_scheduler(devices=devices)
    tasks = [bench.ask(f"r{number}:{number + 2}") for number in range(12)]
    await bench.steps()
    turns: list[str] = []
    other = devices.get("cuda").join(rank=0.0, urgency=lambda: 1, start=lambda: turns.append("other"))
    other.ask()
    sent = len(bench.engine.joined) + len(bench.engine.waiting)
    while bench.engine.inside or bench.engine.waiting:
        assert turns == []
        await bench.steps()
    assert len(bench.engine.joined) == sent
    while not turns:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    other.end()
    while not bench.engine.waiting:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    await bench.run(*tasks)
    await bench.scheduler.close()


async def test_an_engine_that_is_empty_asks_for_no_turn(bench: SlotBench):
    await bench.run(bench.ask("a:1"))
    device = bench.scheduler._devices.get("cuda")
    assert not device.is_wanted
    turns: list[str] = []
    device.join(rank=0.0, urgency=lambda: 1, start=lambda: turns.append("other")).ask()
    await asyncio.sleep(0.01)
    assert turns == ["other"]


async def test_metrics_count_rows_steps_and_slots(bench: SlotBench):
    tasks = [bench.ask("a:4"), bench.ask("b:2", beam_size=3)]
    await bench.steps()
    assert (bench.metric("auricle_slots"), bench.metric("auricle_slots_used")) == (8, 4)
    await bench.run(*tasks)
    assert bench.metric("auricle_windows_total") == 2
    assert bench.metric("auricle_steps_total") == 4
    assert bench.metric("auricle_slot_steps_total") == 10
    assert bench.metric("auricle_batch_rows_count") == 2
    await bench.scheduler.close()
    assert bench.metric("auricle_slots") == 0
