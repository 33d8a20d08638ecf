"""What is checked before CTranslate2 is asked to use CUDA, which no machine here has: its answers are made up."""

import ctypes
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from auricle.engines import ct2_device
from auricle.engines.base import EngineConfig
from auricle.engines.ct2_device import check_cuda, choose_compute_type, choose_device, settle_compute_type
from auricle.engines.ct2_engine import load
from auricle.errors import EngineFailed, EngineNotInstalled, InvalidOption
from samples import NANO


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with two CUDA devices, of which the second knows 8-bit products only."""
    supported = {0: {"float32", "float16", "int8_float16"}, 1: {"float32", "int8_float16", "int8_float32"}}
    monkeypatch.setattr("ctranslate2.get_cuda_device_count", lambda: 2)
    monkeypatch.setattr("ctranslate2.get_supported_compute_types", lambda device, index=0: supported[index])
    return monkeypatch


def no_libraries(monkeypatch: pytest.MonkeyPatch, *present: str) -> list[str]:
    """Lets nothing be loaded but ``present``; gives what was loaded."""
    loaded: list[str] = []

    def open_library(name: str, mode: int = 0) -> object:
        if name not in present:
            raise OSError(name)
        assert mode == ctypes.RTLD_GLOBAL
        loaded.append(name)
        return object()

    monkeypatch.setattr("ctypes.CDLL", open_library)
    return loaded


def test_auto_is_cuda_where_there_is_one_and_else_the_cpu(cuda: pytest.MonkeyPatch):
    assert choose_device("auto") == "cuda"
    assert choose_device("cpu") == "cpu"
    cuda.setattr("ctranslate2.get_cuda_device_count", lambda: 0)
    assert choose_device("auto") == "cpu"


def test_a_device_that_it_does_not_know_is_refused():
    with pytest.raises(InvalidOption, match="cpu and cuda, not on mps") as caught:
        choose_device("mps")
    assert caught.value.param == "device"


def test_each_device_gets_the_number_format_that_it_does_well(cuda: pytest.MonkeyPatch):
    assert choose_compute_type("cuda", 0)[0] == "float16"
    assert choose_compute_type("cuda", 1)[0] == "int8_float16"
    assert settle_compute_type("auto", "cuda", 1) == "int8_float16"
    assert settle_compute_type("default", "cuda", 1) == "default"
    assert settle_compute_type("int8", "cuda", 1) == "int8"


def test_a_number_format_that_the_device_lacks_is_refused_with_those_it_has(cuda: pytest.MonkeyPatch):
    assert settle_compute_type("float16", "cuda", 0) == "float16"
    with pytest.raises(InvalidOption, match="'float16'; it has float32, int8_float16, int8_float32") as caught:
        settle_compute_type("float16", "cuda", 1)
    assert caught.value.param == "compute_type"


def test_a_driver_that_is_too_old_is_a_failure_of_the_engine(cuda: pytest.MonkeyPatch):
    def refuse(device: str, index: int) -> None:
        raise RuntimeError("CUDA driver version is insufficient for CUDA runtime version")

    cuda.setattr("ctranslate2.get_supported_compute_types", refuse)
    with pytest.raises(EngineFailed, match="cuda device 1: CUDA driver version is insufficient"):
        settle_compute_type("auto", "cuda", 1)


def test_a_machine_without_cuda_and_a_device_too_many_are_told(cuda: pytest.MonkeyPatch):
    with pytest.raises(EngineFailed, match="no CUDA device 2; CTranslate2 sees 2"):
        check_cuda(2)
    cuda.setattr("ctranslate2.get_cuda_device_count", lambda: 0)
    with pytest.raises(EngineFailed, match=r"sees no CUDA device.*nvidia-smi"):
        check_cuda(0)


def test_missing_cublas_says_what_to_install(cuda: pytest.MonkeyPatch):
    no_libraries(cuda)
    with pytest.raises(EngineNotInstalled, match=r"libcublasLt\.so\.12 cannot be found.*nvidia-cublas-cu12"):
        check_cuda(0)


def test_cublas_of_the_system_is_taken(cuda: pytest.MonkeyPatch):
    loaded = no_libraries(cuda, "libcublasLt.so.12", "libcublas.so.12")
    check_cuda(1)
    assert loaded == ["libcublasLt.so.12", "libcublas.so.12"]


def test_cublas_of_pip_is_taken_from_where_it_lies(cuda: pytest.MonkeyPatch, tmp_path: Path):
    folder = tmp_path / "nvidia" / "cublas"
    spec = ModuleSpec("nvidia.cublas", None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    cuda.setattr(ct2_device, "find_spec", lambda name: spec)
    libraries = [str(folder / "lib" / name) for name in ("libcublasLt.so.12", "libcublas.so.12")]
    loaded = no_libraries(cuda, *libraries)
    check_cuda(0)
    assert loaded == libraries


def test_a_model_is_not_loaded_where_cuda_lacks_something(cuda: pytest.MonkeyPatch):
    no_libraries(cuda)
    with pytest.raises(EngineNotInstalled, match="cuBLAS 12"):
        load(EngineConfig(engine="ct2", model_name="nano", model_path=NANO, device="auto"))


def test_the_index_of_a_cuda_device_does_not_matter_on_the_cpu():
    engine = load(
        EngineConfig(engine="ct2", model_name="nano", model_path=NANO, device="cpu", device_index=3, threads=1)
    )
    assert engine.info.device == "cpu"
    engine.close()
