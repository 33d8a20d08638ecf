from pathlib import Path

import psutil
import pytest

from auricle.pipeline.memory import memory_percent


def container(folder: Path, *, limit: str, used: int, inactive_file: int) -> Path:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {inactive_file}\nactive_file 7\n")
    return folder


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> float:
    """A machine at 10 %, whatever runs beside the test."""
    real = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: real._replace(percent=10.0))
    return 10.0


def test_without_a_container_it_is_that_of_the_machine(machine: float, tmp_path: Path) -> None:
    assert memory_percent(tmp_path) == machine


def test_a_container_that_is_fuller_than_the_machine_decides(machine: float, tmp_path: Path) -> None:
    assert memory_percent(container(tmp_path, limit="1000", used=960, inactive_file=0)) == 96.0


def test_files_that_can_be_dropped_are_not_in_use(machine: float, tmp_path: Path) -> None:
    assert memory_percent(container(tmp_path, limit="1000", used=960, inactive_file=700)) == 26.0


def test_a_container_without_a_limit_does_not_count(machine: float, tmp_path: Path) -> None:
    assert memory_percent(container(tmp_path, limit="max", used=960, inactive_file=0)) == machine
