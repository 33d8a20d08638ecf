import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from auricle.cli.doctor_checks import make_checks
from auricle.cli.exit_codes import FAILED, exit_code
from auricle.cli.main import app
from auricle.config import Settings
from auricle.engines.optimized import find_optimized
from auricle.errors import AuricleError, EmptyAudio, UnsupportedAudio
from auricle.units import N_FRAMES, N_SAMPLES, SAMPLE_RATE
from optimized_encoders import keep_bytes
from samples import NANO, write_wav

needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")


def run(*arguments: str, data_dir: Path) -> str:
    result = CliRunner().invoke(app, ["models", *arguments], env={"AURICLE_DATA_DIR": str(data_dir)})
    if isinstance(result.exception, AuricleError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def row_of_nano(data_dir: Path) -> dict:
    rows = json.loads(run("list", "--json", data_dir=data_dir))
    return next(row for row in rows if row["name"] == "nano")


def test_the_help_has_an_example():
    result = CliRunner().invoke(app, ["models", "optimize", "--help"], env={"COLUMNS": "250", "NO_COLOR": "1"})
    assert "\n auricle models optimize small --audio calls/" in result.output


def test_the_list_says_which_models_are_optimized(tmp_path: Path):
    assert row_of_nano(tmp_path)["optimized"] is None
    keep_bytes(tmp_path)
    optimized = row_of_nano(tmp_path)["optimized"]
    assert optimized["quantized"] == {"error": 0.021, "encode_s": 0.08}
    table = run("list", data_dir=tmp_path).splitlines()
    nano, base = (next(line for line in table if line.startswith(f"{name} ")) for name in ("nano", "base"))
    assert "int8_float32" in nano
    assert "int8_float32" not in base


def test_the_doctor_shows_its_figures(tmp_path: Path):
    def model_check(settings: Settings):
        return next(check for check in make_checks(settings) if check.name == "model")

    settings = Settings(model="nano", data_dir=tmp_path, device="cpu")
    assert model_check(settings).values["optimized"] is None
    keep_bytes(tmp_path)
    found = model_check(settings)
    assert "80 instead of 100 ms" in found.text
    assert "2.10% instead of 2.00%" in found.text
    keep_bytes(tmp_path, openvino="2020.1")
    found = model_check(settings)
    assert found.ok
    assert "not used, it was made for OpenVINO 2020.1" in found.text


def test_it_can_be_taken_back(tmp_path: Path):
    keep_bytes(tmp_path)
    run("optimize", "nano", "--remove", data_dir=tmp_path)
    assert find_optimized(NANO, tmp_path) is None
    run("optimize", "nano", "--remove", data_dir=tmp_path)


@needs_openvino
def test_recordings_that_are_none_are_told_by_name(tmp_path: Path):
    broken = tmp_path / "talk.mp3"
    broken.write_bytes(b"no audio at all")
    with pytest.raises(UnsupportedAudio, match=r"talk\.mp3"):
        run("optimize", "nano", "--audio", str(broken), data_dir=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(EmptyAudio, match="empty"):
        run("optimize", "nano", "--audio", str(tmp_path / "empty"), data_dir=tmp_path)


@needs_openvino
@pytest.mark.skipif(find_spec("nncf") is not None, reason="nncf is installed")
def test_without_nncf_the_command_says_what_to_install(tmp_path: Path):
    with pytest.raises(AuricleError, match=r"pip install 'auricle\[optimize\]'") as error:
        run("optimize", "nano", data_dir=tmp_path)
    assert exit_code(error.value) not in {0, FAILED}


@needs_openvino
def test_windows_come_from_all_over_the_recordings(tmp_path: Path):
    from auricle.cli.calibration_audio import MOST_WINDOWS, read_windows

    # Two windows and a rest each; the level tells the file.
    files = [
        write_wav(tmp_path / f"{number}.wav", np.full(61 * SAMPLE_RATE, number / 40, np.float32))
        for number in range(20)
    ]
    few = read_windows(files[:2])
    assert [window.size for window in few] == [N_SAMPLES, N_SAMPLES, SAMPLE_RATE] * 2
    many = read_windows(files)
    assert MOST_WINDOWS / 2 < len(many) <= MOST_WINDOWS
    levels = [round(40 * float(window.mean())) for window in many]
    assert levels == sorted(levels)
    assert len(set(levels)) >= 10
    assert levels[-1] >= 18


@needs_openvino
@pytest.mark.parametrize("count", [1, 3, 20])
def test_the_check_is_made_with_other_windows(count: int):
    from auricle.cli.calibration_audio import make_windows

    random = np.random.default_rng(1)
    recorded = [random.uniform(-0.1, 0.1, 5 * SAMPLE_RATE).astype(np.float32) for _ in range(count)]
    made = make_windows(recorded, 80)
    for windows in (made.calibration, made.held_out):
        assert all(window.shape == (80, N_FRAMES) and window.dtype == np.float32 for window in windows)
        assert all(np.isfinite(window).all() for window in windows)
    assert len(made.calibration) >= 20
    again = make_windows(recorded, 80)
    assert all(map(np.array_equal, made.calibration, again.calibration))
    if count == 20:
        calibrated = {window.tobytes() for window in made.calibration}
        assert len([window for window in made.held_out if window.tobytes() not in calibrated]) >= 6
