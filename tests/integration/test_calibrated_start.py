"""Engines take what was measured on this machine, where the settings leave it open."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_server import DIGITS, LiveServer, live_server

from auricle.config import Settings
from auricle.engines.speed import BatchCost, Table, Trial, load_table, save_table
from auricle.pipeline.library import Library, ModelFolder, Origin
from auricle.reuse.request import Outcome, Reuse
from auricle.runtime import engine_config, open_runtime
from auricle.types import ModelInfo, RequestInfo, TranscribeOptions
from samples import NANO_HF

needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")


def nano(data_dir: Path) -> ModelFolder:
    folder = Library(data_dir=data_dir).find("nano", Origin.SETTINGS)
    assert folder is not None
    return folder


def keep(settings: Settings, *trials: tuple[str, str, float]) -> None:
    """Trials as (engine, compute type, seconds a row), all in batches of 3."""
    measured = tuple(
        Trial(
            engine=engine,
            compute_type=compute_type,
            costs=(BatchCost(rows=3, beam_size=settings.beam_size, encode_s=row_s, decode_s=0.0),),
        )
        for engine, compute_type, row_s in trials
    )
    table = Table(measured_at="2026-01-02T03:04:05+00:00", beam_size=settings.beam_size, trials=measured)
    save_table(engine_config(settings, nano(settings.data_dir)), settings.data_dir, table)


async def started(settings: Settings) -> ModelInfo:
    runtime = open_runtime(settings)
    try:
        return (await runtime.models.load("nano")).info
    finally:
        await runtime.close()


async def test_an_engine_starts_with_what_was_measured(tmp_path: Path):
    settings = Settings(model="nano", engine="ct2", device="cpu", data_dir=tmp_path)
    assert (await started(settings)).compute_type != "float32"
    keep(settings, ("ct2", "float32", 0.1))
    info = await started(settings)
    assert (info.compute_type, info.max_batch) == ("float32", 3)
    assert (await started(settings.model_copy(update={"max_batch": 5}))).max_batch == 5


@needs_openvino
@pytest.mark.parametrize(("openvino_s", "engine"), [(0.1, "openvino"), (0.3, "ct2")])
async def test_auto_is_the_engine_that_was_faster(tmp_path: Path, openvino_s: float, engine: str):
    settings = Settings(model="nano", device="cpu", data_dir=tmp_path)
    keep(settings, ("openvino", "float32", openvino_s), ("ct2", "float32", 0.2))
    info = await started(settings)
    assert (info.engine, info.compute_type, info.max_batch) == (engine, "float32", 3)


async def test_a_model_is_measured_before_its_first_start_where_that_is_asked_for(tmp_path: Path):
    settings = Settings(model="nano", engine="fake", data_dir=tmp_path, calibrate="auto", beam_size=1)
    config = engine_config(settings, nano(tmp_path))
    info = await started(settings)
    table = load_table(config, 1, tmp_path)
    assert table is not None
    assert info.max_batch == table.trials[0].best(1).rows
    await started(settings)
    assert load_table(config, 1, tmp_path) == table


async def outcome(settings: Settings) -> Outcome:
    """What becomes of a request whose result may be kept, on a machine that has just been started."""
    found: list[Outcome] = []
    runtime = open_runtime(settings)
    runtime.start()
    try:
        request = RequestInfo(request_id="one")
        reuse = Reuse(report=found.append)
        await runtime.transcriber.run(DIGITS, TranscribeOptions(), model=None, request=request, reuse=reuse)
    finally:
        await runtime.close()
    return found[-1]


async def test_results_of_another_engine_or_format_are_not_served(tmp_path: Path):
    settings = Settings(model="nano", engine="ct2", device="cpu", data_dir=tmp_path)
    keep(settings, ("ct2", "float32", 0.1))
    assert [await outcome(settings), await outcome(settings)] == ["miss", "hit"]
    keep(settings, ("ct2", "int8_float32", 0.1))
    assert [await outcome(settings), await outcome(settings)] == ["miss", "hit"]
    assert await outcome(settings.model_copy(update={"compute_type": "float32"})) == "hit"
    assert await outcome(settings.model_copy(update={"engine": "fake"})) == "miss"


async def test_what_is_made_while_a_model_is_still_measured_is_found_by_what_made_it_only(tmp_path: Path):
    settings = Settings(model="nano", engine="fake", data_dir=tmp_path, calibrate="auto", beam_size=1)
    assert [await outcome(settings) for _ in range(3)] == ["miss", "miss", "hit"]


def told(live: LiveServer) -> list[Any]:
    """What a server says of the engine of its model, in all places."""
    url = live.url
    health = live.health()["models"][0]
    model = httpx.get(f"{url}/v1/models/nano").json()
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    metric = next(line for line in lines if line.startswith("auricle_model_loaded{"))
    return [(found["engine"], found["compute_type"]) for found in (health, model)] + [metric]


@needs_openvino
def test_a_server_names_the_engine_that_is_in_use(tmp_path: Path):
    settings = Settings(model="nano", data_dir=tmp_path, device="cpu", threads=2)
    for fast, slow in (("openvino", "ct2"), ("ct2", "openvino")):
        keep(settings, (fast, "float32", 0.1), (slow, "float32", 0.2))
        with live_server(tmp_path, engine="auto", device="cpu") as live:
            health, model, metric = told(live)
            assert health == model == (fast, "float32")
            assert f'engine="{fast}"' in metric


@needs_openvino
async def test_a_model_in_hugging_face_form_runs_on_the_engine_that_can_read_it(tmp_path: Path):
    runtime = open_runtime(Settings(model=str(NANO_HF), data_dir=tmp_path))
    try:
        assert (await runtime.models.load()).info.engine == "openvino"
    finally:
        await runtime.close()
