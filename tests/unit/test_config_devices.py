import pytest
from pydantic import ValidationError

from auricle.config import Settings
from auricle.pipeline.library import ModelFolder
from auricle.runtime import default_model_name, engine_config
from samples import NANO

FOLDER = ModelFolder(name="nano", path=NANO)
GIB = 2**30


@pytest.mark.parametrize(
    ("text", "indices"), [("0,1", (0, 1)), ("cuda:0,cuda:1", (0, 1)), (" 2 , cuda:0,", (2, 0)), ("3", (3,)), ("", ())]
)
def test_devices_are_numbers_with_or_without_what_they_are(monkeypatch: pytest.MonkeyPatch, text: str, indices):
    monkeypatch.setenv("AURICLE_DEVICES", text)
    assert Settings().devices == indices


@pytest.mark.parametrize("text", ["cpu", "0;1", "mps:0", "-1", "0,0", "cuda:", "0,cuda:0", "1e3"])
def test_what_names_no_cuda_device_or_one_twice_is_refused(monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.setenv("AURICLE_DEVICES", text)
    with pytest.raises(ValidationError, match="devices"):
        Settings()


def test_devices_contradict_another_device():
    with pytest.raises(ValidationError, match="they are CUDA devices"):
        Settings(devices=(0, 1), device="cpu")
    assert Settings(devices=(0, 1), device="cuda").devices == (0, 1)


def test_devices_take_the_place_of_the_single_one():
    config = engine_config(Settings(devices=(2, 3), device_index=1), FOLDER)
    assert (config.device, config.device_index) == ("cuda", 2)
    config = engine_config(Settings(device_index=1), FOLDER)
    assert (config.device, config.device_index) == ("auto", 1)


def test_options_of_torch_are_passed_on_where_they_are_set():
    assert engine_config(Settings(), FOLDER).options == {}
    config = engine_config(Settings(torch_compile=True, torch_quantize="int8"), FOLDER)
    assert config.options == {"torch_compile": "on", "torch_quantize": "int8"}


def test_the_default_model_fits_on_the_smallest_of_the_devices(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("auricle.runtime.cuda_memory_bytes", lambda: (80 * GIB, 4 * GIB))
    assert default_model_name(Settings()) == "large-v3-turbo"
    assert default_model_name(Settings(devices=(0,))) == "large-v3-turbo"
    assert default_model_name(Settings(devices=(0, 1))) == "base"
    assert default_model_name(Settings(devices=(0, 2))) == "base"
    assert default_model_name(Settings(device="mps")) == "base"
