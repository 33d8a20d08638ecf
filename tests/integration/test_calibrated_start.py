"""Engines take what was measured on this machine, where the settings leave it open."""

from pathlib import Path

from auricle.config import Settings
from auricle.engines.calibrate import BatchCost, Table, Trial, load_table, save_table
from auricle.pipeline.library import Library, Origin
from auricle.runtime import engine_config, open_runtime
from auricle.types import ModelInfo


async def started(settings: Settings) -> ModelInfo:
    runtime = open_runtime(settings)
    try:
        return (await runtime.models.load("nano")).info
    finally:
        await runtime.close()


async def test_an_engine_starts_with_what_was_measured(tmp_path: Path):
    settings = Settings(model="nano", data_dir=tmp_path)
    folder = Library(data_dir=tmp_path).find("nano", Origin.SETTINGS)
    assert folder is not None
    cost = BatchCost(rows=3, encode_s=0.1, start_s=0.0, token_s=0.0)
    table = Table(measured_at="2026-01-02T03:04:05+00:00", trials=(Trial(compute_type="float32", costs=(cost,)),))
    assert (await started(settings)).compute_type != "float32"
    save_table(engine_config(settings, folder), tmp_path, table)
    info = await started(settings)
    assert (info.compute_type, info.max_batch) == ("float32", 3)
    assert (await started(settings.model_copy(update={"max_batch": 5}))).max_batch == 5


async def test_a_model_is_measured_before_its_first_start_where_that_is_asked_for(tmp_path: Path):
    settings = Settings(model="nano", engine="fake", data_dir=tmp_path, calibrate="auto")
    folder = Library(data_dir=tmp_path).find("nano", Origin.SETTINGS)
    assert folder is not None
    info = await started(settings)
    table = load_table(engine_config(settings, folder), tmp_path)
    assert table is not None
    assert info.max_batch == table.best.best.rows
    first = table.measured_at
    await started(settings)
    again = load_table(engine_config(settings, folder), tmp_path)
    assert again is not None
    assert again.measured_at == first
