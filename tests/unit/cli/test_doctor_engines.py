from pathlib import Path
from typing import Any

import pytest

from auricle.cli.doctor_engines import check_devices, check_engine, describe_devices
from auricle.config import Settings
from auricle.engines.devices import AppleGpu, CudaDevice
from auricle.engines.registry import ENGINES

GIB = 2**30
H200 = CudaDevice(index=0, name="NVIDIA H200", memory_bytes=141 * GIB, capability=(9, 0), bus_id="")
T4 = CudaDevice(index=1, name="Tesla T4", memory_bytes=16 * GIB, capability=(7, 5), bus_id="")


def test_each_cuda_device_is_shown_with_its_free_memory_where_that_is_known():
    found = describe_devices(Settings(), [H200, T4], None, [100 * GIB, None])
    assert found.ok
    assert "cuda:0: NVIDIA H200, 100 of 141 GiB free, compute capability 9.0" in found.text
    assert "cuda:1: Tesla T4, 16 GiB, compute capability 7.5" in found.text
    devices: Any = found.values["cuda"]
    assert [device["free_bytes"] for device in devices] == [100 * GIB, None]


def test_the_gpu_of_an_apple_chip_is_shown():
    found = describe_devices(Settings(), [], AppleGpu(name="Apple M4", memory_bytes=32 * GIB), [])
    assert found.ok
    assert found.text == "mps: Apple M4, shares 32 GiB with the processor"


def test_a_machine_without_a_gpu_is_no_failure_unless_the_settings_name_one():
    assert describe_devices(Settings(), [], None, []).ok
    for settings in (Settings(devices=(0, 1)), Settings(device="cuda")):
        found = describe_devices(settings, [], None, [])
        assert not found.ok
        assert "cuda:0" in found.text
    assert describe_devices(Settings(devices=(0, 2)), [H200, T4], None, [1, 1]).values["missing"] == ["cuda:2"]


def test_this_machine_can_be_described():
    assert check_devices(Settings()).name == "gpu"


def test_every_engine_is_shown_installed_or_with_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("auricle.cli.doctor_engines.installed_engines", lambda: frozenset({"ct2", "fake"}))
    found = check_engine(Settings(model="nano", engine="ct2", device="cpu", data_dir=tmp_path))
    assert found.ok
    assert "ct2 on cpu, compute type int8_float32: the setting says so" in found.text
    lines = [line.strip() for line in found.text.splitlines()]
    for engine in set(ENGINES) - {"ct2", "fake"}:
        assert any(line.startswith(f"{engine}:") and f"pip install 'auricle[{engine}]'" in line for line in lines)
    assert any(line.startswith("ct2:") and "ctranslate2 4" in line for line in lines)
    assert found.values["installed"] == ["ct2"]


def test_a_choice_that_cannot_be_made_is_a_failure_with_the_reason(tmp_path: Path):
    found = check_engine(Settings(model="nano", engine="whisperer", data_dir=tmp_path))
    assert not found.ok
    assert "whisperer" in found.text
