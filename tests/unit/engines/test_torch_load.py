import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_models import write_model

from auricle.engines.base import EngineConfig
from auricle.engines.checkpoint_files import read_checkpoint
from auricle.errors import EngineFailed, EngineNotInstalled, EngineOutOfMemory, InvalidOption
from samples import NANO, NANO_HF

torch = pytest.importorskip("torch")

from auricle.engines import torch_load, torch_trial  # noqa: E402
from auricle.engines.torch_load import choose_compute_types, choose_device, load_torch, read_options  # noqa: E402
from auricle.engines.torch_weights import stored_name  # noqa: E402

CONFIG = EngineConfig(engine="torch", model_name="nano", model_path=NANO_HF, device="cpu", threads=1)


@pytest.mark.parametrize(
    ("asked", "device", "level", "expected"),
    [
        ("auto", "cpu", (0, 0), "float32"),
        ("auto", "mps", (0, 0), "float16"),
        ("auto", "cuda", (9, 0), "bfloat16"),
        ("default", "cuda", (8, 0), "bfloat16"),
        ("auto", "cuda", (7, 5), "float16"),
        ("auto", "cuda", (5, 2), "float32"),
        ("float16", "cpu", (0, 0), "float16"),
    ],
)
def test_the_number_format_suits_the_device(asked: str, device: str, level: tuple[int, int], expected: str):
    assert choose_compute_types(asked, device, level)[0] == expected


def test_auto_has_a_format_left_where_the_best_one_fails():
    assert choose_compute_types("auto", "cuda", (8, 0))[-1] == "float32"
    assert choose_compute_types("bfloat16", "cuda", (8, 0)) == ("bfloat16",)


def test_formats_of_other_engines_are_refused_with_what_can_be_used():
    with pytest.raises(InvalidOption, match=r"no compute type 'int8_float16'.*float32.*quantize=int8") as caught:
        choose_compute_types("int8_float16", "cpu", (0, 0))
    assert caught.value.param == "compute_type"


def test_options_have_names_and_few_values():
    found = read_options({"compile": "ON", "quantize": "fp8", "attention": "flash", "of another engine": "x"})
    assert (found.compile, found.quantize, found.attention) == (True, "fp8", "flash")
    found = read_options({})
    assert (found.compile, found.quantize, found.attention) == (False, "off", "auto")


@pytest.mark.parametrize("name", ["compile", "quantize", "attention"])
def test_an_option_with_another_value_is_refused(name: str):
    with pytest.raises(InvalidOption, match="maybe") as caught:
        read_options({name: "maybe"})
    assert caught.value.param == name


def test_a_device_that_is_not_there_is_refused():
    assert choose_device("cpu", 0).type == "cpu"
    with pytest.raises(InvalidOption, match="'tpu'"):
        choose_device("tpu", 0)
    with pytest.raises(InvalidOption, match="no CUDA device 999"):
        choose_device("cuda", 999)


@pytest.mark.skipif(sys.platform == "darwin", reason="there may be one")
def test_there_is_no_apple_gpu_elsewhere():
    with pytest.raises(InvalidOption, match="Apple"):
        choose_device("mps", 0)


@pytest.mark.parametrize("folder", [NANO, NANO_HF], ids=["ct2", "hf"])
@pytest.mark.parametrize("compute_type", ["float32", "float16", "bfloat16"])
def test_every_weight_is_that_of_the_files(folder: Path, compute_type: str):
    loaded = load_torch(replace(CONFIG, model_path=folder, compute_type=compute_type))
    assert (loaded.device.type, loaded.compute_type, loaded.slots) == ("cpu", compute_type, 8)
    checkpoint = read_checkpoint(folder)
    steps = {"float32": 0.0, "float16": 2**-10, "bfloat16": 2**-7}
    for name, parameter in loaded.model.named_parameters():
        exact = checkpoint.tensor(stored_name(name)).to_float32()
        stays = ".norm." in name or name.startswith("decoder.")
        assert parameter.dtype == (torch.float32 if stays else torch_load.COMPUTE_TYPES[compute_type])
        assert not parameter.requires_grad
        step = 0.0 if stays else steps[compute_type]
        np.testing.assert_allclose(parameter.float().numpy(), exact, rtol=step, atol=step * 1e-3)


def test_a_pruned_decoder_and_128_mels_are_loaded(tmp_path: Path):
    folder = write_model(tmp_path / "turbo", n_mels=128, vocabulary=51866, encoder_layers=4, decoder_layers=2)
    loaded = load_torch(replace(CONFIG, model_path=folder))
    shape = loaded.model.shape
    assert (shape.n_mels, shape.encoder_layers, shape.decoder_layers) == (128, 4, 2)
    assert all(not parameter.is_meta for parameter in loaded.model.parameters())


def test_the_slots_that_are_asked_for_are_those_that_there_are():
    assert load_torch(replace(CONFIG, max_batch=3)).slots == 3
    with pytest.raises(EngineOutOfMemory, match=r"nano does not fit on cpu: .* fewer slots \(max_batch\)"):
        load_torch(replace(CONFIG, max_batch=10**7))


def test_a_format_that_gives_no_numbers_is_found_at_once(tmp_path: Path):
    folder = write_model(tmp_path / "loud", n_mels=80, vocabulary=51865, encoder_layers=1, decoder_layers=1)
    loud = load_file_with(folder, "model.encoder.layers.0.fc2.bias", 60_000.0, "model.encoder.conv2.bias", 60_000.0)
    assert load_torch(replace(CONFIG, model_path=loud)).compute_type == "float32"
    with pytest.raises(InvalidOption, match=r"cpu cannot compute in float16 .* use compute type float32"):
        load_torch(replace(CONFIG, model_path=loud, compute_type="float16"))


def load_file_with(folder: Path, *changes: Any) -> Path:
    """``folder`` with tensors that are filled with a value."""
    from safetensors.numpy import load_file, save_file

    values = dict(zip(changes[::2], changes[1::2], strict=True))
    for path in folder.glob("*.safetensors"):
        tensors = load_file(path)
        save_file({name: np.full_like(held, values.get(name, 0)) if name in values else held
                   for name, held in tensors.items()}, path)  # fmt: skip
    return folder


def test_the_next_format_is_taken_where_the_best_one_fails(monkeypatch: pytest.MonkeyPatch):
    real = torch_trial.try_out

    def fails_in_half(model: Any, device: Any, compute_type: str) -> None:
        if compute_type == "bfloat16":
            raise InvalidOption("no such products", param="compute_type")
        real(model, device, compute_type)

    monkeypatch.setattr(torch_load, "try_out", fails_in_half)
    monkeypatch.setattr(torch_load, "choose_compute_types", lambda *_: ("bfloat16", "float16", "float32"))
    assert load_torch(CONFIG).compute_type == "float16"


def test_what_pytorch_cannot_do_is_said_in_its_words(monkeypatch: pytest.MonkeyPatch):
    def refuses(*_: object) -> bool:
        raise RuntimeError("no kernel image is available\nat line 7")

    monkeypatch.setattr(torch_trial, "run_once", refuses)
    with pytest.raises(InvalidOption, match=r"cannot compute in bfloat16 \(no kernel image is available\)"):
        load_torch(replace(CONFIG, compute_type="bfloat16"))
    with pytest.raises(EngineFailed, match="cannot run the model on cpu: no kernel image is available"):
        load_torch(CONFIG)


def test_too_little_memory_while_loading_is_its_own_error(monkeypatch: pytest.MonkeyPatch):
    def runs_out(*_: object) -> bool:
        raise torch.OutOfMemoryError("tried to allocate 2.00 GiB")

    monkeypatch.setattr(torch_trial, "run_once", runs_out)
    with pytest.raises(EngineOutOfMemory, match="nano does not fit into the memory of cpu"):
        load_torch(CONFIG)


@pytest.mark.parametrize(("option", "package"), [({"quantize": "int8"}, "torchao"), ({"quantize": "fp8"}, "torchao")])
def test_an_option_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, option: dict[str, str], package: str
):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EngineNotInstalled, match=f"pip install {package}"):
        load_torch(replace(CONFIG, options=option))


def test_flash_attention_is_not_for_processors():
    with pytest.raises(InvalidOption, match="CUDA only"):
        load_torch(replace(CONFIG, options={"attention": "flash"}))


def copy_with(folder: Path, **changes: object) -> Path:
    shutil.copytree(NANO_HF, folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder_layers": 5}, "no tensor decoder.layers.4"),
        ({"encoder_layers": 10**6}, "no tensor encoder.layers.999999"),
    ],
)
def test_a_configuration_that_promises_more_than_there_is_is_refused(tmp_path: Path, changes: Any, message: str):
    with pytest.raises(EngineFailed, match=message):
        load_torch(replace(CONFIG, model_path=copy_with(tmp_path / "model", **changes)))


def test_alignment_heads_that_do_not_exist_are_refused(tmp_path: Path):
    folder = copy_with(tmp_path / "model")
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"alignment_heads": [[4, 0]]}))
    with pytest.raises(EngineFailed, match=r"alignment head \(4, 0\)"):
        load_torch(replace(CONFIG, model_path=folder))


def test_tensors_that_do_not_belong_together_are_refused(tmp_path: Path):
    folder = write_model(tmp_path / "odd", n_mels=80, vocabulary=51865, encoder_layers=1, decoder_layers=1)
    from safetensors.numpy import load_file, save_file

    for path in folder.glob("*.safetensors"):
        tensors = load_file(path)
        if "model.encoder.layers.0.fc1.weight" in tensors:
            tensors["model.encoder.layers.0.fc1.weight"] = np.zeros((7, 64), np.float16)
            save_file(tensors, path)
    with pytest.raises(EngineFailed, match=r"encoder\.0\.ffn\.in\.weight has the shape \(7, 64\) instead of"):
        load_torch(replace(CONFIG, model_path=folder))


def test_a_folder_without_a_model_is_named(tmp_path: Path):
    with pytest.raises(EngineFailed, match="nano cannot be loaded"):
        load_torch(replace(CONFIG, model_path=tmp_path))
