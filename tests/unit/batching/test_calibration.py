from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import auricle
from auricle.batching import calibration
from auricle.batching.calibration import calibrate
from auricle.engines.base import EngineConfig
from auricle.engines.speed import Table
from auricle.errors import EngineFailed
from auricle.types import Features, ModelInfo

NANO = Path(auricle.__file__).parent / "models" / "nano"


def fake(**options: str) -> EngineConfig:
    return EngineConfig(engine="fake", compute_type="a", model_name="nano", model_path=NANO, options=options)


def noise(info: ModelInfo) -> tuple[Features, None]:
    return np.random.default_rng(0).standard_normal((info.n_mels, 3000), dtype=np.float32), None


async def measured(*configs: EngineConfig, beam_size: int = 1, told: list[str] | None = None) -> Table:
    named = [replace(config, compute_type=name) for config, name in zip(configs, "abcd", strict=False)]
    report = told.append if told is not None else lambda _: None
    return await calibrate(named, noise, beam_size=beam_size, report=report)


def sizes(table: Table) -> list[list[tuple[int, int]]]:
    return [[(cost.rows, cost.beam_size) for cost in trial.costs] for trial in table.trials]


async def test_every_size_of_batch_is_measured_greedily_and_with_the_beams_of_the_settings():
    table = await measured(fake(step_delay_s="0.003"), beam_size=5)
    (trial,) = table.trials
    assert sizes(table) == [[(rows, beam) for rows in (1, 2, 4, 8) for beam in (1, 5)]]
    assert table.beam_size == 5
    # Each row takes 3 ms, whatever it asks for.
    assert all(cost.decode_s >= 0.003 for cost in trial.costs)


async def test_what_is_near_the_fastest_is_measured_again_in_reverse_order(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calibration, "_NEAR", 3.0)
    told: list[str] = []
    slow = fake(step_delay_s="0.1")
    table = await measured(fake(step_delay_s="0.01"), slow, fake(step_delay_s="0.01"), told=told)
    assert told == [
        *("fake a (1 of 3)", "fake b (2 of 3)", "fake c (3 of 3)"),
        *("fake c once more (1 of 2)", "fake a once more (2 of 2)"),
    ]
    assert [trial.compute_type for trial in table.trials] == ["a", "b", "c"]


async def test_engines_whose_rows_join_are_measured_too():
    table = await measured(fake(joins="true", step_delay_s="0.001"), beam_size=5)
    (trial,) = table.trials
    assert sizes(table) == [[(rows, beam) for rows in (1, 2, 4, 8) for beam in (1, 5)]]
    by_beam = [next(cost for cost in trial.costs if cost.beam_size == beam and cost.rows == 8) for beam in (1, 5)]
    assert by_beam[0].row_s < by_beam[1].row_s, "of rows with five beams only one at a time fits into 8 slots"


async def test_sizes_for_which_memory_does_not_suffice_in_slots_are_left_out():
    table = await measured(fake(joins="true", oom_above="2"))
    assert sizes(table) == [[(1, 1), (2, 1)]]


async def test_what_is_hopeless_is_not_measured_in_larger_batches():
    table = await measured(fake(step_delay_s="0.005"), fake(step_delay_s="0.05"))
    assert sizes(table) == [[(1, 1), (2, 1), (4, 1), (8, 1)], [(1, 1)]]


async def test_batches_that_do_not_fit_are_left_out():
    assert sizes(await measured(fake(oom_above="2"))) == [[(1, 1), (2, 1)]]


async def test_what_cannot_start_or_crashes_is_noted_and_passed_over():
    broken = fake(fail_load="no weights")
    crashing = fake(crash_on_batch="9", last_words="it hurts")
    table = await measured(broken, crashing, fake(oom_above="0"), fake())
    assert "no weights" in table.trials[0].problem
    assert "it hurts" in table.trials[1].problem
    assert "memory" in table.trials[2].problem
    assert table.trials[3].problem == ""
    assert [bool(trial.costs) for trial in table.trials] == [False, False, False, True]


async def test_what_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calibration, "_LONGEST_S", 1.0)
    table = await measured(fake(load_delay_s="30"), fake())
    assert "longer than" in table.trials[0].problem
    assert table.trials[1].costs


async def test_no_larger_batch_is_begun_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calibration, "_NO_LARGER_AFTER_S", 0.0)
    assert sizes(await measured(fake())) == [[(1, 1)]]


async def test_where_nothing_can_be_measured_the_error_says_why():
    with pytest.raises(EngineFailed, match=r"nano.*a: no weights; fake b: .*memory"):
        await measured(fake(fail_load="no weights"), fake(oom_above="0"))


async def test_nothing_is_measured_again_when_all_have_taken_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calibration, "_NO_SECOND_AFTER_S", 0.0)
    monkeypatch.setattr(calibration, "_NEAR", 1000.0)
    told: list[str] = []
    await measured(fake(), fake(), told=told)
    assert told == ["fake a (1 of 2)", "fake b (2 of 2)"]
