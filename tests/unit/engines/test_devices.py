"""What the driver's libraries tell, with stand-ins for them: there is no GPU where tests run."""

import platform
from ctypes import Array, c_char, c_int
from typing import Any

import pytest

from auricle.engines import devices
from auricle.engines.devices import CudaDevice, apple_gpu, read_cuda_devices, read_free_bytes

GIB = 2**30
H200 = CudaDevice(index=0, name="NVIDIA H200", memory_bytes=141 * GIB, capability=(9, 0), bus_id="0000:1B:00.0")
T4 = CudaDevice(index=1, name="Tesla T4", memory_bytes=16 * GIB, capability=(7, 5), bus_id="0000:3C:00.0")


class Driver:
    """The functions of libcuda that are used; ``broken`` are indices of devices that cannot be asked."""

    def __init__(self, *found: CudaDevice, status: int = 0, broken: tuple[int, ...] = ()) -> None:
        self.found = found
        self.status = status
        self.broken = broken

    def cuInit(self, flags: int) -> int:
        assert flags == 0
        return self.status

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = len(self.found)
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:
        device._obj.value = 100 + index
        return int(index in self.broken)

    def cuDeviceTotalMem_v2(self, total: Any, device: c_int) -> int:
        total._obj.value = self.of(device).memory_bytes
        return 0

    def cuDeviceGetName(self, text: "Array[c_char]", size: int, device: c_int) -> int:
        text.value = self.of(device).name.encode()[: size - 1]
        return 0

    def cuDeviceGetPCIBusId(self, text: "Array[c_char]", size: int, device: c_int) -> int:
        text.value = self.of(device).bus_id.encode()[: size - 1]
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: c_int) -> int:
        value._obj.value = self.of(device).capability[{75: 0, 76: 1}[attribute]]
        return 0

    def of(self, device: c_int) -> CudaDevice:
        return self.found[device.value - 100]


class Nvml:
    """The functions of NVML that are used."""

    def __init__(self, *, status: int = 0, known: str = "0000:1B:00.0", memory_status: int = 0) -> None:
        self.status = status
        self.known = known
        self.memory_status = memory_status
        self.opened = 0

    def nvmlInit_v2(self) -> int:
        self.opened += not self.status
        return self.status

    def nvmlShutdown(self) -> int:
        self.opened -= 1
        return 0

    def nvmlDeviceGetHandleByPciBusId_v2(self, bus_id: bytes, handle: Any) -> int:
        handle._obj.value = 7
        return 0 if bus_id == self.known.encode() else 6

    def nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:
        assert handle.value == 7
        memory._obj.total, memory._obj.free, memory._obj.used = 141 * GIB, 100 * GIB, 41 * GIB
        return self.memory_status


def test_each_device_is_told_with_its_name_memory_and_capability():
    assert read_cuda_devices(Driver(H200, T4)) == (H200, T4)


def test_a_driver_without_devices_or_that_does_not_work_has_none():
    assert read_cuda_devices(Driver()) == ()
    assert read_cuda_devices(Driver(H200, status=999)) == ()


def test_a_device_that_cannot_be_asked_is_left_out_and_the_others_keep_their_index():
    assert [found.index for found in read_cuda_devices(Driver(H200, T4, broken=(0,)))] == [1]


def test_a_machine_without_a_driver_has_no_devices(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", missing)
    devices.cuda_devices.cache_clear()
    assert devices.cuda_devices() == ()
    assert devices.cuda_memory_bytes() == ()
    assert devices.free_cuda_bytes(H200) is None
    devices.cuda_devices.cache_clear()


def test_free_memory_is_asked_by_the_place_on_the_bus_and_the_library_is_closed_again():
    nvml = Nvml()
    assert read_free_bytes(nvml, H200.bus_id) == 100 * GIB
    assert read_free_bytes(nvml, T4.bus_id) is None
    assert read_free_bytes(Nvml(memory_status=3), H200.bus_id) is None
    assert nvml.opened == 0


def test_free_memory_is_unknown_where_the_library_cannot_be_opened():
    nvml = Nvml(status=9)
    assert read_free_bytes(nvml, H200.bus_id) is None
    assert nvml.opened == 0


@pytest.mark.parametrize(
    ("system", "machine", "has_gpu"),
    [("Darwin", "arm64", True), ("Darwin", "x86_64", False), ("Linux", "arm64", False)],
)
def test_only_an_apple_chip_has_an_apple_gpu(monkeypatch: pytest.MonkeyPatch, system: str, machine: str, has_gpu: bool):
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    apple_gpu.cache_clear()
    found = apple_gpu()
    apple_gpu.cache_clear()
    assert (found is not None) == has_gpu
    if found is not None:
        assert found.name
        assert found.memory_bytes > GIB
