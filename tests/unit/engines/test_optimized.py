import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from auricle.engines.optimized import find_optimized, read_optimized, remove_optimized, summarise
from auricle.engines.weights import models_dir, remove_model
from optimized_encoders import about_nano, keep_bytes
from samples import NANO


def kept_folders(data_dir: Path) -> list[str]:
    return sorted(path.name for path in (data_dir / "engines" / "optimized").iterdir())


def put_model(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(weights)
    return folder


def test_what_was_kept_is_found_with_its_figures(tmp_path: Path):
    assert find_optimized(NANO, tmp_path) is None
    kept = keep_bytes(tmp_path)
    found = find_optimized(NANO, tmp_path)
    assert found == kept
    assert found is not None
    assert found.about == about_nano()
    assert (found.damage(), found.obstacle(NANO)) == ("", "")
    assert found.network.read_bytes() == b"network"
    assert (
        summarise(found.about)
        == "80 instead of 100 ms of processor time a window, error 2.10% instead of 2.00%, int8_float32"
    )


def test_a_new_one_takes_the_place_of_the_old_under_another_name(tmp_path: Path):
    old = keep_bytes(tmp_path, content=b"old")
    new = keep_bytes(tmp_path, content=b"new")
    assert old.folder.name != new.folder.name
    assert kept_folders(tmp_path) == [new.folder.name]
    assert find_optimized(NANO, tmp_path) == new


def test_each_model_has_its_own(tmp_path: Path):
    models = [put_model(tmp_path / name) for name in ("a", "b")]
    kept = [keep_bytes(tmp_path, model) for model in models]
    assert [find_optimized(model, tmp_path) for model in models] == kept
    assert remove_optimized(models[0], tmp_path) > 0
    assert find_optimized(models[0], tmp_path) is None
    assert find_optimized(models[1], tmp_path) == kept[1]
    assert remove_optimized(models[0], tmp_path) == 0


def test_one_that_could_not_be_written_leaves_nothing_and_the_old_one_stays(tmp_path: Path):
    from auricle.engines.optimized import keep_optimized

    old = keep_bytes(tmp_path)

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        keep_optimized(about_nano(), fail, model_path=NANO, data_dir=tmp_path)
    assert kept_folders(tmp_path) == [old.folder.name]


def test_a_model_that_is_deleted_takes_it_along(tmp_path: Path):
    folder = put_model(models_dir(tmp_path) / "org--repo")
    keep_bytes(tmp_path, folder)
    freed = remove_model("org/repo", data_dir=tmp_path)
    assert kept_folders(tmp_path) == []
    assert freed > len(b"weights")


def test_a_data_folder_can_be_moved(tmp_path: Path):
    before, after = tmp_path / "before", tmp_path / "after"
    keep_bytes(before, put_model(models_dir(before) / "org--repo"))
    shutil.copytree(before, after)
    found = find_optimized(models_dir(after) / "org--repo", after)
    assert found is not None
    assert found.obstacle(models_dir(after) / "org--repo") == ""


@pytest.mark.parametrize(
    ("change", "obstacle"),
    [
        ({"format": 0}, "another version of Auricle"),
        ({"fingerprint": "of other files"}, "files have changed"),
        ({"openvino": "2020.1"}, "made for OpenVINO 2020.1"),
        ({"processor": "abacus"}, "another kind of processor"),
    ],
)
def test_what_was_made_for_something_else_says_so(tmp_path: Path, change: dict, obstacle: str):
    assert obstacle in keep_bytes(tmp_path, **change).obstacle(NANO)


def test_a_model_whose_files_changed_is_another_one(tmp_path: Path):
    folder = put_model(tmp_path / "model")
    kept = keep_bytes(tmp_path, folder)
    (folder / "model.bin").write_bytes(b"others!")
    found = find_optimized(folder, tmp_path)
    assert found == kept
    assert found is not None
    assert "files have changed" in found.obstacle(folder)


@pytest.mark.parametrize("name", ["encoder.xml", "encoder.bin"])
def test_a_byte_that_flipped_is_damage(tmp_path: Path, name: str):
    kept = keep_bytes(tmp_path)
    file = kept.folder / name
    file.write_bytes(file.read_bytes().replace(b"e", b"E", 1))
    assert kept.damage() == f"{name} does not match its checksum"
    assert kept.obstacle(NANO) == ""
    file.write_bytes(b"short")
    assert kept.obstacle(NANO) == "its files are not whole"
    file.unlink()
    assert name in kept.damage()
    assert kept.obstacle(NANO) == "its files are not whole"


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"about": {}, "files": {}}', b'{"about": 7}', b"\xff", b'{"about": {"plain": 1}}']
)
def test_a_description_that_is_not_as_it_was_written_is_passed_over_with_a_warning(
    tmp_path: Path, text: bytes, caplog: pytest.LogCaptureFixture
):
    kept = keep_bytes(tmp_path)
    (kept.folder / "about.json").write_bytes(text)
    assert find_optimized(NANO, tmp_path) is None
    assert str(kept.folder) in caplog.text
    with pytest.raises(ValueError, match=r"about\.json"):
        read_optimized(kept.folder)
    assert remove_optimized(NANO, tmp_path) > 0


def test_a_figure_that_was_changed_by_hand_is_not_believed(tmp_path: Path):
    kept = keep_bytes(tmp_path)
    about = asdict(kept.about) | {"openvino": "2020.1"}
    (kept.folder / "about.json").write_text(json.dumps({"about": about, "files": dict(kept.files)}))
    assert find_optimized(NANO, tmp_path) is None
