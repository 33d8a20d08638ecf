import json
from dataclasses import replace
from pathlib import Path

import pytest

from auricle.engines.base import EngineConfig
from auricle.engines.calibrate import BatchCost, Table, Trial, candidates, load_table, save_table, table_path, tuned


@pytest.fixture
def config(tmp_path: Path) -> EngineConfig:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"weights")
    return EngineConfig(engine="ct2", model_name="base", model_path=folder, device="cpu")


def trial(compute_type: str, **row_s: float) -> Trial:
    """``b4=0.5`` is half a second a row in batches of 4."""
    costs = tuple(
        BatchCost(rows=int(name[1:]), encode_s=seconds, start_s=0.0, token_s=0.0) for name, seconds in row_s.items()
    )
    return Trial(compute_type=compute_type, costs=costs)


def table(*trials: Trial) -> Table:
    return Table(measured_at="2026-01-02T03:04:05+00:00", trials=trials)


def test_the_smallest_batch_that_no_other_beats_by_much_is_best():
    assert trial("float32", b1=1.0, b2=0.8, b4=0.52, b8=0.5).best.rows == 4
    assert trial("float32", b1=1.0, b2=0.8, b4=0.6, b8=0.5).best.rows == 8


def test_a_less_exact_format_must_be_clearly_faster():
    assert table(trial("float32", b1=1.0), trial("int8_float32", b1=0.5)).best.compute_type == "int8_float32"
    assert table(trial("float32", b1=1.0), trial("int8_float32", b1=0.97)).best.compute_type == "float32"


def test_tokens_count_as_well_as_the_encoder():
    slow_decoder = BatchCost(rows=1, encode_s=0.1, start_s=0.0, token_s=0.1)
    slow_encoder = BatchCost(rows=1, encode_s=1.0, start_s=0.0, token_s=0.01)
    assert slow_encoder.row_s < slow_decoder.row_s


def test_what_the_settings_leave_open_comes_from_the_table(config: EngineConfig):
    measured = table(trial("float32", b1=1.0), trial("int8_float32", b1=0.5, b2=0.4))
    chosen = tuned(config, measured)
    assert (chosen.compute_type, chosen.max_batch) == ("int8_float32", 2)
    set_by_hand = replace(config, compute_type="float32", max_batch=7)
    assert tuned(set_by_hand, measured) == set_by_hand
    assert tuned(config, None) == config


def test_a_table_comes_back_as_it_was_kept(config: EngineConfig, tmp_path: Path):
    measured = table(trial("float32", b1=1.0), trial("int8_float32", b1=0.5, b2=0.4))
    assert load_table(config, tmp_path) is None
    path = save_table(config, tmp_path, measured)
    assert load_table(config, tmp_path) == measured
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert json.loads(path.read_text())["identity"]["model"] == "base"


def test_another_model_setting_or_size_has_a_table_of_its_own(config: EngineConfig, tmp_path: Path):
    save_table(config, tmp_path, table(trial("float32", b1=1.0)))
    for change in ({"model_name": "small"}, {"threads": 1}, {"compute_type": "float32"}, {"device_index": 1}):
        assert load_table(replace(config, **change), tmp_path) is None
    assert load_table(replace(config, max_batch=3), tmp_path) is not None
    (config.model_path / "model.bin").write_bytes(b"longer weights")
    assert load_table(config, tmp_path) is None


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", "null", '{"measured_at": "x", "trials": []}', '{"measured_at": "x", "trials": [{"a": 1}]}',
             '{"measured_at": "x", "trials": [{"compute_type": "float32", "costs": []}]}',
             '{"measured_at": "x", "trials": [{"compute_type": "float32", "costs": [{"rows": 1}]}]}', "\xff"],
)  # fmt: skip
def test_a_damaged_table_is_as_good_as_none(config: EngineConfig, tmp_path: Path, body: str):
    path = table_path(config, tmp_path)
    path.parent.mkdir()
    path.write_bytes(body.encode("latin-1"))
    assert load_table(config, tmp_path) is None


def test_a_format_that_is_set_is_the_only_one_tried(config: EngineConfig):
    assert candidates(replace(config, compute_type="int16")) == ("int16",)
    assert "int8_float32" in candidates(config)
    assert candidates(replace(config, engine="fake")) == ("auto",)
