import json
import shutil
from pathlib import Path

import pytest

from auricle.engines.base import EngineConfig
from auricle.engines.ct2_engine import load
from auricle.engines.folder_format import folder_format, format_of, weight_files
from auricle.engines.model_folder import folder_problem
from auricle.engines.weights import find_model, list_models
from auricle.errors import InvalidOption, ModelNotFound
from samples import NANO, NANO_HF


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["model.bin", "config.json"], "ct2"),
        (["model.safetensors"], "hf"),
        (["model.safetensors.index.json"], "hf"),
        (["model.bin", "model.safetensors"], "ct2"),
        (["pytorch_model.bin", "config.json"], None),
        ([], None),
    ],
)
def test_a_folder_is_known_by_its_weights(names, expected):
    assert folder_format(names) == expected


def test_both_forms_of_a_model_are_models_and_no_folder_is_none(tmp_path: Path):
    assert (format_of(NANO), format_of(NANO_HF), format_of(tmp_path / "none")) == ("ct2", "hf", None)
    assert folder_problem(NANO) is None
    assert folder_problem(NANO_HF) is None


def test_a_folder_in_hugging_face_form_can_be_named_and_installed(tmp_path: Path):
    local = find_model(str(NANO_HF), data_dir=tmp_path, allow_local=True)
    assert local is not None
    assert (local.path, local.source) == (NANO_HF, "local")
    shutil.copytree(NANO_HF, tmp_path / "models" / "someone--fine")
    assert [model.name for model in list_models(tmp_path)] == ["nano", "someone/fine"]


def sharded(folder: Path, *names: str) -> Path:
    shutil.copytree(NANO_HF, folder)
    (folder / "model.safetensors").unlink()
    places = {f"tensor {number}": name for number, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return folder


def test_the_files_of_shared_out_weights_are_those_of_the_index(tmp_path: Path):
    folder = sharded(tmp_path / "model", "b.safetensors", "a.safetensors", "b.safetensors")
    assert weight_files(folder) == ["a.safetensors", "b.safetensors"]
    assert folder_problem(folder) == "it has no a.safetensors, no b.safetensors"


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("tokenizer.json", None, r"it has no tokenizer\.json"),
        ("config.json", None, r"it has no config\.json"),
        ("model.safetensors", b"", r"its model\.safetensors is empty"),
        ("tokenizer.json", b"", r"its tokenizer\.json is empty"),
    ],
)
def test_a_folder_that_lacks_something_is_refused_with_what_it_lacks(tmp_path: Path, file, content, problem):
    folder = tmp_path / "model"
    shutil.copytree(NANO_HF, folder, ignore=shutil.ignore_patterns("vocab.json"))
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    with pytest.raises(ModelNotFound, match=problem):
        find_model(str(folder), data_dir=tmp_path, allow_local=True)


@pytest.mark.parametrize(
    "index", ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {}}', '{"weight_map": {"a": "../../b.safetensors"}}']
)
def test_an_index_that_leads_nowhere_is_a_problem_of_the_folder(tmp_path: Path, index: str):
    folder = sharded(tmp_path / "model")
    (folder / "model.safetensors.index.json").write_text(index)
    problem = folder_problem(folder)
    assert problem is not None
    assert problem.startswith("its weights cannot be found")


def test_ctranslate2_says_what_to_do_with_a_model_in_hugging_face_form():
    config = EngineConfig(engine="ct2", model_name="nano", model_path=NANO_HF, device="cpu")
    with pytest.raises(InvalidOption, match=r"--engine openvino.*ct2-transformers-converter") as caught:
        load(config)
    assert caught.value.param == "engine"
