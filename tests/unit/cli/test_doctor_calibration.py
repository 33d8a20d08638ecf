from pathlib import Path

import pytest

from auricle.cli.doctor_calibration import calibrate_model, check_calibration
from auricle.config import Settings
from auricle.engines.speed import BatchCost, Table, Trial, save_table
from auricle.errors import InvalidOption
from auricle.pipeline.library import Library, Origin
from auricle.runtime import engine_config


def keep(settings: Settings, *trials: Trial) -> None:
    folder = Library(data_dir=settings.data_dir).find("nano", Origin.SETTINGS)
    assert folder is not None
    table = Table(measured_at="2026-01-02T03:04:05+00:00", beam_size=settings.beam_size, trials=trials)
    save_table(engine_config(settings, folder), settings.data_dir, table)


def trial(engine: str, compute_type: str, row_s: float) -> Trial:
    costs = tuple(
        BatchCost(rows=rows, beam_size=beam, encode_s=row_s, decode_s=0.0) for rows in (1, 2) for beam in (1, 5)
    )
    return Trial(engine=engine, compute_type=compute_type, costs=costs)


def test_what_was_measured_is_shown_with_its_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    settings = Settings(model="nano", engine="fake", data_dir=tmp_path, beam_size=1)
    assert check_calibration(settings).values == {"measured_at": None}
    calibrate_model(settings)
    assert "measuring nano: fake auto (1 of 1)" in capsys.readouterr().err
    found = check_calibration(settings)
    assert found.ok
    assert str(found.values["measured_at"]) in found.text
    trials = found.values["trials"]
    assert isinstance(trials, list)
    assert [trial["rows"] for trial in trials] == [1, 2, 4, 8]
    assert found.values["max_batch"] in {1, 2, 4, 8}


def test_the_figures_of_all_engines_are_shown_with_the_choice_and_its_reason(tmp_path: Path):
    settings = Settings(model="nano", data_dir=tmp_path, device="cpu")
    failed = Trial(engine="ct2", compute_type="int16", problem="this CPU lacks it")
    keep(settings, trial("openvino", "int8", 0.211), trial("ct2", "int8_float32", 0.422), failed)
    found = check_calibration(settings)
    assert "openvino 211 ms a window" in found.text
    assert "ct2 422 ms a window" in found.text
    assert (found.values["engine"], found.values["compute_type"]) == ("openvino", "int8")
    lines = [line.split() for line in found.text.splitlines()]
    assert ["openvino", "int8", "211", "5", "211", "211"] in lines
    assert ["ct2", "int8_float32", "422", "1", "422", "422"] in lines
    assert "this CPU lacks it" in found.text
    assert found.values["failed"] == [{"engine": "ct2", "compute_type": "int16", "problem": "this CPU lacks it"}]


def test_with_an_engine_that_is_set_the_figures_of_others_are_still_shown(tmp_path: Path):
    settings = Settings(model="nano", data_dir=tmp_path, device="cpu")
    keep(settings, trial("openvino", "int8", 0.211), trial("ct2", "int8_float32", 0.422))
    found = check_calibration(settings.model_copy(update={"engine": "ct2"}))
    assert "the setting says so" in found.text
    assert (found.values["engine"], found.values["max_batch"]) == ("ct2", 1)
    assert "openvino" in found.text


def test_measuring_one_engine_leaves_what_is_known_of_another(tmp_path: Path):
    settings = Settings(model="nano", data_dir=tmp_path, beam_size=1)
    keep(settings, trial("openvino", "int8", 0.211))
    calibrate_model(settings.model_copy(update={"engine": "fake"}))
    trials = check_calibration(settings).values["trials"]
    assert isinstance(trials, list)
    assert {trial["engine"] for trial in trials} == {"fake", "openvino"}


def test_a_model_that_is_not_on_disk_is_not_measured(tmp_path: Path):
    settings = Settings(model="small", data_dir=tmp_path)
    with pytest.raises(InvalidOption, match="auricle models pull small"):
        calibrate_model(settings)
    assert check_calibration(settings).ok


def test_a_folder_that_cannot_be_written_is_an_error_that_says_so(tmp_path: Path):
    (tmp_path / "calibration").write_text("in the way")
    with pytest.raises(InvalidOption, match="cannot be written"):
        calibrate_model(Settings(model="nano", engine="fake", data_dir=tmp_path, beam_size=1))


def test_who_measures_on_a_busy_machine_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    settings = Settings(model="nano", engine="fake", data_dir=tmp_path, beam_size=1)
    for load, is_told in ((99.0, True), (0.0, False)):
        monkeypatch.setattr("os.getloadavg", lambda load=load: (load, 0.0, 0.0))
        calibrate_model(settings)
        assert ("is busy (load 99.0)" in capsys.readouterr().err) is is_told
