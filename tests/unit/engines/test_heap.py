import subprocess
import sys

import pytest

from auricle.engines.heap import keep_freed_memory, share_heaps

WORK = """
import resource, sys, threading
from auricle.engines.heap import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else True
import numpy as np
def work():
    for _ in range(6):
        np.ones(100 * 2**20, np.uint8)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(kept, faults())
"""


def run(mode: str) -> tuple[bool, int]:
    done = subprocess.run([sys.executable, "-c", WORK, mode], capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    return kept == "True", int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is on Linux only")
def test_large_buffers_are_not_taken_from_the_system_again_and_again():
    kept, faults = run("keep")
    if not kept:
        pytest.skip("another C library than glibc")
    # 100 MiB are 25,600 pages, or 50 huge ones.
    assert faults < 40
    assert run("leave")[1] > 200


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
    assert not share_heaps()


HEAPS = """
import ctypes, sys, tempfile, threading
from auricle.engines.heap import share_heaps
shared = share_heaps() if sys.argv[1] == "share" else True
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
gate = threading.Barrier(12)
def work():
    gate.wait()
    libc.malloc(1000)
    gate.wait()
threads = [threading.Thread(target=work) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
with tempfile.NamedTemporaryFile() as file:
    stream = libc.fopen(file.name.encode(), b"w")
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(shared, file.read().count(b"<heap nr="))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is on Linux only")
def test_many_threads_share_two_heaps():
    def count(mode: str) -> tuple[str, int]:
        done = subprocess.run([sys.executable, "-c", HEAPS, mode], capture_output=True, text=True, check=True)
        shared, heaps = done.stdout.split()
        return shared, int(heaps)

    shared, heaps = count("share")
    if shared != "True":
        pytest.skip("another C library than glibc")
    assert heaps <= 2
    assert count("leave")[1] > 2
