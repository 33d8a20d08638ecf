from pathlib import Path

import pytest

from auricle.cli.doctor_calibration import calibrate_model, check_calibration
from auricle.config import Settings
from auricle.errors import InvalidOption


def test_what_was_measured_is_shown_with_its_date(tmp_path: Path):
    settings = Settings(model="nano", engine="fake", data_dir=tmp_path)
    assert check_calibration(settings).values == {"measured_at": None}
    calibrate_model(settings)
    found = check_calibration(settings)
    assert found.ok
    assert str(found.values["measured_at"]) in found.text
    trials = found.values["trials"]
    assert isinstance(trials, list)
    assert [trial["rows"] for trial in trials] == [1, 2, 4, 8]
    assert found.values["max_batch"] in {1, 2, 4, 8}


def test_a_model_that_is_not_on_disk_is_not_measured(tmp_path: Path):
    settings = Settings(model="small", data_dir=tmp_path)
    with pytest.raises(InvalidOption, match="auricle models pull small"):
        calibrate_model(settings)
    assert check_calibration(settings).ok


def test_a_folder_that_cannot_be_written_is_an_error_that_says_so(tmp_path: Path):
    (tmp_path / "calibration").write_text("in the way")
    with pytest.raises(InvalidOption, match="cannot be written"):
        calibrate_model(Settings(model="nano", engine="fake", data_dir=tmp_path))
