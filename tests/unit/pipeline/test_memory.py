import os

import psutil

from auricle.pipeline.memory import machine_bytes, process_bytes


def test_a_process_takes_memory_and_none_takes_none() -> None:
    assert process_bytes(os.getpid()) > 1 << 20
    assert process_bytes(None) == 0
    gone = psutil.Popen(["true"])
    gone.wait()
    assert process_bytes(gone.pid) == 0


def test_a_container_has_no_more_than_its_machine() -> None:
    assert 0 < machine_bytes() <= psutil.virtual_memory().total
