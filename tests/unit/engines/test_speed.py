import json
from dataclasses import replace
from pathlib import Path

import pytest

from auricle.engines import speed
from auricle.engines.base import EngineConfig
from auricle.engines.speed import BatchCost, Table, Trial, load_table, save_table, table_path


@pytest.fixture
def config(tmp_path: Path) -> EngineConfig:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"weights")
    return EngineConfig(engine="auto", model_name="base", model_path=folder, device="cpu")


def trial(engine: str = "ct2", compute_type: str = "float32", **row_s: float) -> Trial:
    """``b4=0.5`` is half a second a row in batches of 4."""
    costs = tuple(
        BatchCost(rows=int(name[1:]), beam_size=5, encode_s=seconds, decode_s=0.0) for name, seconds in row_s.items()
    )
    return Trial(engine=engine, compute_type=compute_type, costs=costs)


def table(*trials: Trial) -> Table:
    return Table(measured_at="2026-01-02T03:04:05+00:00", beam_size=5, trials=trials)


def test_the_smallest_batch_that_no_other_beats_by_much_is_best():
    assert trial(b1=1.0, b2=0.8, b4=0.52, b8=0.5).best(5).rows == 4
    assert trial(b1=1.0, b2=0.8, b4=0.6, b8=0.5).best(5).rows == 8


def test_each_beam_size_has_its_own_best_batch():
    greedy = tuple(replace(cost, beam_size=1) for cost in trial(b1=0.1, b2=0.1).costs)
    both = Trial(engine="ct2", compute_type="float32", costs=(*greedy, *trial(b1=1.0, b2=0.5).costs))
    assert (both.best(1).rows, both.best(5).rows) == (1, 2)


def test_tokens_count_as_well_as_the_encoder():
    assert BatchCost(rows=1, beam_size=1, encode_s=0.1, decode_s=0.3).row_s == pytest.approx(0.4)


def test_a_table_comes_back_as_it_was_kept(config: EngineConfig, tmp_path: Path):
    measured = table(trial(b1=1.0), Trial(engine="openvino", compute_type="int8", problem="it crashed"))
    assert load_table(config, 5, tmp_path) is None
    path = save_table(config, tmp_path, measured)
    assert load_table(config, 5, tmp_path) == measured
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert json.loads(path.read_text())["model"] == "base"


def test_engine_and_format_share_a_table(config: EngineConfig, tmp_path: Path):
    save_table(config, tmp_path, table(trial(b1=1.0)))
    for change in ({"engine": "ct2"}, {"compute_type": "float32"}, {"max_batch": 3}):
        assert load_table(replace(config, **change), 5, tmp_path) is not None


def test_any_other_change_makes_the_table_void(config: EngineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save_table(config, tmp_path, table(trial(b1=1.0)))
    for change in ({"threads": 1}, {"device": "auto"}, {"device_index": 1}):
        assert load_table(replace(config, **change), 5, tmp_path) is None
    assert load_table(config, 1, tmp_path) is None
    for what, other in (("_version", "1.2.3"), ("_processor", "another")):
        with monkeypatch.context() as changed:
            changed.setattr(speed, what, lambda *_, other=other: other)
            assert load_table(config, 5, tmp_path) is None
    assert load_table(config, 5, tmp_path) is not None
    (config.model_path / "model.bin").write_bytes(b"longer weights")
    assert load_table(config, 5, tmp_path) is None


def test_a_newer_table_keeps_what_an_older_one_says_of_others():
    older = table(trial("ct2", "float32", b1=1.0), trial("openvino", "int8", b1=1.0))
    newer = table(trial("ct2", "float32", b1=2.0))
    assert newer.over(older).trials == (newer.trials[0], older.trials[1])
    assert newer.over(None) == newer


def test_a_table_covers_what_was_tried_with_success_or_without(config: EngineConfig):
    tried = table(trial("ct2", "float32", b1=1.0), Trial(engine="openvino", compute_type="int8", problem="it crashed"))
    ct2 = replace(config, engine="ct2", compute_type="float32")
    openvino = replace(config, engine="openvino", compute_type="int8")
    assert tried.covers([ct2, openvino])
    assert not tried.covers([ct2, replace(openvino, compute_type="float32")])


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        "null",
        "\xff",
        '{"measured_at": "x", "trials": [{"a": 1}]}',
        '{"measured_at": "x", "trials": [{"engine": "ct2", "compute_type": "y", "costs": [{"rows": 1}], '
        '"problem": ""}]}',
        '{"measured_at": "x", "trials": [{"engine": "ct2", "compute_type": "y", "costs": [{"rows": 1, "beam_size": 9, '
        '"encode_s": 1, "decode_s": 1}], "problem": ""}]}',
    ],
)
def test_a_damaged_table_is_as_good_as_none(config: EngineConfig, tmp_path: Path, body: str):
    path = table_path(config, 5, tmp_path)
    path.parent.mkdir()
    path.write_bytes(body.encode("latin-1"))
    assert load_table(config, 5, tmp_path) is None
