"""A stream of rows of every kind, in simulated steps: how full the slots stay, and how long rows wait."""

import asyncio
import random

import pytest
from simulated_slots import STEP_S, SlotBench

from auricle.types import Answer, Priority, RequestInfo

FULL = 0.85
DETECTION, TOKENS_A_SECOND = 1, 3


def kinds(count: int, seed: int) -> list[tuple[int, int, float]]:
    """Steps, beams and temperature: windows of 1 to 30 s, some with beams or samples, and language detections."""
    chance = random.Random(seed)
    rows: list[tuple[int, int, float]] = []
    for _ in range(count):
        if chance.random() < 1 / 8:
            rows.append((DETECTION, 1, 0.0))
        else:
            steps = round(chance.uniform(1, 30) * TOKENS_A_SECOND) + 4
            rows.append((steps, chance.choice((1, 1, 1, 5)), chance.choice((0.0, 0.0, 0.0, 0.4))))
    return rows


async def stream(bench: SlotBench, rows: list[tuple[int, int, float]]) -> list["asyncio.Task[Answer]"]:
    return [
        bench.ask(
            f"row{number}:{steps}",
            beam_size=beams,
            temperature=temperature,
            request=RequestInfo(request_id=f"request{number // 12}", caller=f"caller{number % 4}"),
            remaining_s=28.0 * (12 - number % 12),
        )
        for number, (steps, beams, temperature) in enumerate(rows)
    ]


# Of 8 slots, a row with 5 beams leaves 3 to rows without, of which there may be none.
@pytest.mark.parametrize(("device", "slots"), [("cpu", 16), ("cuda", 16), ("cuda", 32), ("cuda", 128)])
async def test_slots_stay_full_while_rows_of_every_kind_wait(device: str, slots: int):
    bench = SlotBench(slots, device=device)
    tasks = await stream(bench, kinds(12 * slots, seed=slots))
    await bench.steps(2)
    while bench.metrics.queue_rows():
        await bench.steps()
    load = bench.engine.load
    assert load.steps > 100
    assert load.slot_steps / (load.steps * slots) >= FULL
    assert {type(answer) for answer in await bench.run(*tasks)} == {Answer}
    await bench.scheduler.close()


async def test_slots_stay_full_although_the_answer_to_each_row_takes_steps_to_come():
    """The next row of a request is asked for a while after the last one was answered, by 40 requests of one row each
    at a time for 32 slots."""
    bench = SlotBench(32)
    chance = random.Random(1)

    async def request(name: str) -> None:
        for number in range(6):
            steps = chance.randint(5, 90)
            await bench.ask(f"{name}-{number}:{steps}", request=RequestInfo(request_id=name))
            ready = bench.now + 3 * STEP_S
            while bench.now < ready:  # noqa: ASYNC110
                await asyncio.sleep(0)

    requests = [asyncio.create_task(request(f"request{number}")) for number in range(40)]
    await bench.steps(2)
    before = bench.engine.load
    while not any(task.done() for task in requests):
        await bench.steps()
    load = bench.engine.load
    assert (load.slot_steps - before.slot_steps) / ((load.steps - before.steps) * 32) >= FULL
    while not all(task.done() for task in requests):
        await bench.steps()
    await bench.scheduler.close()


async def test_rows_with_beams_are_not_starved_by_rows_without():
    bench = SlotBench(8)
    running = [bench.ask(f"first{number}:{13 + number}") for number in range(8)]
    await bench.steps()
    wide = bench.ask("wide:5", beam_size=8, remaining_s=1.0)
    for number in range(200):
        running.append(bench.ask(f"small{number}:20", remaining_s=50.0))
        await bench.steps()
        if wide.done():
            break
    # It waits for the rows inside, for as many more as fill the slots once, and for these.
    assert wide.done()
    assert bench.engine.load.steps <= 20 * 4
    await bench.run(*running)
    await bench.scheduler.close()


async def test_a_clip_among_long_files_is_answered_in_little_more_than_its_own_steps():
    bench = SlotBench(16)
    chance = random.Random(2)
    files = await stream(bench, [(chance.randint(5, 90), 1, 0.0) for _ in range(400)])
    await bench.steps(50)
    waits: list[int] = []
    for number in range(10):
        began = bench.engine.load.steps
        clip = RequestInfo(request_id=f"clip{number}", caller="somebody", priority=Priority.INTERACTIVE, audio_s=4.0)
        await bench.run(bench.ask(f"language{number}:1", request=clip, remaining_s=4.0))
        await bench.run(bench.ask(f"clip{number}:20", request=clip, remaining_s=4.0))
        waits.append(bench.engine.load.steps - began)
        await bench.steps(7)
    # A row leaves every third step: each of its two rows lets the one that was sent ahead go first.
    assert sorted(waits)[5] <= 21 + 2 * 10
    await bench.run(*files)
    await bench.scheduler.close()
