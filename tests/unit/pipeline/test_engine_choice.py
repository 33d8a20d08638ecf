from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auricle.engines.base import EngineConfig
from auricle.engines.fake_engine import load
from auricle.engines.speed import BatchCost, Table, Trial, load_table, save_table
from auricle.errors import EngineFailed
from auricle.mel_scale import MEL_MARGIN
from auricle.pipeline.engine_choice import EngineChoices, keep_table, measure_engines, speech_window
from auricle.pipeline.library import ModelFolder
from auricle.units import N_SAMPLES
from samples import NANO

FOLDER = ModelFolder(name="nano", path=NANO, size_bytes=1)
FAKE = EngineConfig(engine="fake", model_name="nano", model_path=NANO, device="cpu")


def choices(data_dir: Path, asked: EngineConfig = FAKE, *, may_measure: bool = False) -> EngineChoices:
    return EngineChoices(lambda folder: asked, beam_size=1, data_dir=data_dir, may_measure=may_measure)


def table(rows: int, engine: str = "fake", compute_type: str = "auto") -> Table:
    cost = BatchCost(rows=rows, beam_size=1, encode_s=0.1, decode_s=0.0)
    trial = Trial(engine=engine, compute_type=compute_type, costs=(cost,))
    return Table(measured_at="2026-01-02T03:04:05+00:00", beam_size=1, trials=(trial,))


async def test_a_choice_holds_although_the_table_changes(tmp_path: Path):
    ours = choices(tmp_path)
    save_table(FAKE, tmp_path, table(3))
    assert (await ours.settle(FOLDER)).max_batch == 3
    save_table(FAKE, tmp_path, table(5))
    assert (await ours.settle(FOLDER)).max_batch == 3
    assert (await choices(tmp_path).settle(FOLDER)).max_batch == 5


async def test_other_files_in_the_folder_are_another_model(tmp_path: Path):
    ours = choices(tmp_path)
    save_table(FAKE, tmp_path, table(3))
    await ours.settle(FOLDER)
    save_table(FAKE, tmp_path, table(5))
    assert (await ours.settle(replace(FOLDER, size_bytes=2))).max_batch == 5


async def test_nothing_is_measured_unless_that_is_asked_for(tmp_path: Path):
    assert (await choices(tmp_path).settle(FOLDER)).max_batch == 0
    assert load_table(FAKE, 1, tmp_path) is None


async def test_where_it_is_asked_for_a_model_has_no_choice_before_it_is_measured(tmp_path: Path):
    ours = choices(tmp_path, may_measure=True)
    assert ours.find(FOLDER) is None
    settled = await ours.settle(FOLDER)
    measured = load_table(FAKE, 1, tmp_path)
    assert measured is not None
    assert settled.max_batch == measured.trials[0].best(1).rows
    found = ours.find(FOLDER)
    assert found is not None
    assert found.apply(FAKE) == settled


async def test_a_table_that_lacks_an_engine_is_not_enough_where_it_may_be_measured(tmp_path: Path):
    save_table(FAKE, tmp_path, table(3, engine="ct2"))
    assert choices(tmp_path, may_measure=True).find(FOLDER) is None
    assert choices(tmp_path).find(FOLDER) is not None


async def test_a_measurement_that_cannot_be_kept_is_used_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "calibration").write_text("in the way")
    settled = await choices(tmp_path, may_measure=True).settle(FOLDER)
    assert settled.max_batch
    assert "cannot be kept" in caplog.text


async def test_where_nothing_can_be_measured_the_error_comes_out(tmp_path: Path):
    broken = replace(FAKE, options={"fail_load": "no weights"})
    with pytest.raises(EngineFailed, match="no weights"):
        await choices(tmp_path, broken, may_measure=True).settle(FOLDER)


async def test_a_real_engine_is_measured_with_speech(tmp_path: Path):
    told: list[str] = []
    asked = replace(FAKE, engine="ct2", compute_type="int8_float32", threads=1)
    measured = await measure_engines(asked, beam_size=1, report=told.append)
    assert told == ["ct2 int8_float32 (1 of 1)"]
    (trial,) = measured.trials
    assert [cost.rows for cost in trial.costs] == [1, 2, 4, 8]
    assert all(cost.encode_s > 0 and cost.decode_s > 0 for cost in trial.costs)
    keep_table(asked, table(3), tmp_path)
    keep_table(asked, measured, tmp_path)
    kept = load_table(asked, 1, tmp_path)
    assert kept is not None
    assert [found.engine for found in kept.trials] == ["ct2", "fake"]


def test_engines_that_want_samples_are_measured_with_samples():
    speech = np.random.default_rng(0).uniform(-1, 1, N_SAMPLES).astype(np.float32)
    info = load(FAKE).info
    features, samples = speech_window(speech, info)
    assert (features.shape, samples) == ((80, 3000), None)
    features, samples = speech_window(speech, replace(info, wants_samples=True))
    assert features.shape == (0, 3000)
    assert samples is not None
    assert np.array_equal(samples[MEL_MARGIN:][:N_SAMPLES], speech)
