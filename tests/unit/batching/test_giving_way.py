"""What the scheduler sends when: beside a batch that runs, and after one whose windows are encoded."""

import asyncio
from dataclasses import replace

from scheduler_bench import INFO, Bench, settle, until

from auricle.batching.device import Devices
from auricle.batching.scheduler import Scheduler
from auricle.types import RequestInfo

PATIENT = replace(INFO, device="cpu", gives_way="between_steps")
FILE = RequestInfo(request_id="file", audio_s=600.0)
CLIP = RequestInfo(request_id="clip", audio_s=5.0)


async def start(bench: Bench) -> None:
    bench.info, bench.is_gated = PATIENT, True
    await bench.scheduler.start()


async def test_a_clip_is_sent_at_once_beside_a_batch_of_a_long_file(bench: Bench):
    await start(bench)
    tasks = [bench.ask("file-0", request=FILE, remaining_s=600)]
    await until(lambda: bench.engines[0].sent == 1)
    tasks.append(bench.ask("clip-1", request=CLIP))
    await until(lambda: bench.engines[0].sent == 2)
    bench.engines[0].gate.set()
    await asyncio.gather(*tasks)


async def test_more_of_the_same_waits_and_so_does_a_third_batch(bench: Bench):
    await start(bench)
    tasks = [bench.ask("file-0", request=FILE, remaining_s=600)]
    await until(lambda: bench.engines[0].sent == 1)
    tasks.append(bench.ask("file-1", request=FILE, remaining_s=600))
    await settle()
    assert bench.engines[0].sent == 1
    tasks += [bench.ask("clip-2", request=CLIP), bench.ask("clip-3", request=CLIP)]
    await until(lambda: bench.engines[0].sent == 2)
    tasks.append(bench.ask("clip-4", request=CLIP))
    await settle()
    assert bench.engines[0].sent == 2
    bench.engines[0].gate.set()
    await asyncio.gather(*tasks)
    assert bench.engines[0].batches[:2] == [["file-0"], ["clip-2", "clip-3"]]


async def test_nothing_is_sent_beside_a_batch_of_an_engine_that_cannot_pause(bench: Bench):
    bench.info, bench.is_gated = replace(PATIENT, gives_way="never"), True
    await bench.scheduler.start()
    tasks = [bench.ask("file-0", request=FILE, remaining_s=600)]
    await until(lambda: bench.engines[0].sent == 1)
    tasks.append(bench.ask("clip-1", request=CLIP))
    await settle()
    assert bench.engines[0].sent == 1
    bench.engines[0].gate.set()
    await asyncio.gather(*tasks)


async def test_a_turn_is_not_made_longer_while_another_model_waits_for_the_device(bench: Bench):
    devices = Devices()
    bench.scheduler = Scheduler(bench.start_engine, metrics=bench.metrics, devices=devices)
    await start(bench)
    tasks = [bench.ask("file-0", request=FILE, remaining_s=600)]
    await until(lambda: bench.engines[0].sent == 1)
    turns: list[str] = []
    other = devices.get("cpu").join(rank=0.0, urgency=lambda: 1, start=lambda: turns.append("other"))
    other.ask()
    tasks.append(bench.ask("clip-1", request=CLIP))
    await settle()
    assert (bench.engines[0].sent, turns) == (1, [])
    bench.engines[0].gate.set()
    await tasks[0]
    await until(lambda: turns == ["other"])
    other.end()
    await asyncio.gather(*tasks)


async def test_the_second_question_about_a_window_goes_before_the_first_about_others(bench: Bench):
    bench.info = replace(PATIENT, gives_way="never", max_batch=1)
    await bench.ask("w-0")
    bench.engines[0].gate.clear()
    tasks = [bench.ask(f"w-{number}") for number in (1, 2, 0)]
    bench.engines[0].gate.set()
    await asyncio.gather(*tasks)
    assert bench.engines[0].batches == [["w-0"], ["w-0"], ["w-1"], ["w-2"]]
