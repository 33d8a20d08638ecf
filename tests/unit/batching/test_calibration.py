from pathlib import Path

import pytest

import auricle
from auricle.batching.calibration import calibrate
from auricle.engines.base import EngineConfig
from auricle.errors import EngineFailed

NANO = Path(auricle.__file__).parent / "models" / "nano"


def fake(**options: str) -> EngineConfig:
    return EngineConfig(engine="fake", model_name="nano", model_path=NANO, device="cpu", options=options)


async def test_every_size_of_batch_is_measured():
    told: list[str] = []
    table = await calibrate(fake(step_delay_s="0.01"), beam_size=1, report=told.append)
    assert told == ["auto"]
    (trial,) = table.trials
    assert [cost.rows for cost in trial.costs] == [1, 2, 4, 8]
    # Each row takes 10 ms, whatever it asks for.
    assert all(cost.start_s > 0.005 for cost in trial.costs)


async def test_batches_that_do_not_fit_are_left_out():
    table = await calibrate(fake(oom_above="2"), beam_size=1, report=lambda _: None)
    assert [cost.rows for cost in table.trials[0].costs] == [1, 2]


async def test_an_engine_that_cannot_start_is_an_error_that_says_why():
    with pytest.raises(EngineFailed, match="no weights"):
        await calibrate(fake(fail_load="no weights"), beam_size=1, report=lambda _: None)


async def test_where_not_even_one_row_fits_there_is_nothing_to_choose_from():
    with pytest.raises(EngineFailed, match="nano"):
        await calibrate(fake(oom_above="0"), beam_size=1, report=lambda _: None)
