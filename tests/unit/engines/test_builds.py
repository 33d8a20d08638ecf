from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from auricle.engines import builds
from auricle.engines.builds import find_builds, torch_cuda_version

ALL = ("ct2", "fake", "mlx", "openvino", "torch")


def found(system: str, processor: str, *, torch_has_cuda: bool = True, installed: tuple[str, ...] = ALL):
    return find_builds(installed, system=system, processor=processor, torch_has_cuda=torch_has_cuda)


def test_what_can_use_a_gpu_depends_on_the_system_and_on_the_build():
    assert found("Linux", "x86_64") == {"cuda": {"ct2", "torch"}, "mps": set()}
    assert found("Windows", "AMD64")["cuda"] == {"ct2", "torch"}
    assert found("Linux", "x86_64", torch_has_cuda=False)["cuda"] == {"ct2"}
    assert found("Linux", "aarch64")["cuda"] == {"torch"}
    assert found("Darwin", "arm64", torch_has_cuda=False) == {"cuda": set(), "mps": {"mlx", "torch"}}
    assert found("Darwin", "x86_64", torch_has_cuda=False) == {"cuda": set(), "mps": set()}


def test_what_is_not_installed_can_use_nothing():
    assert found("Linux", "x86_64", installed=("ct2",)) == {"cuda": {"ct2"}, "mps": set()}
    assert found("Darwin", "arm64", installed=("ct2", "torch"))["mps"] == {"torch"}


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("from typing import Optional\n\n__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\nhip = None\n", None),
        ("__version__ = '2.9.0'\ncuda: Optional[str] = '12.8'\n", "12.8"),
        ("__version__ = '2.6.0+cu124'\ncuda = '12.4'\n", "12.4"),
        ("__version__ = '1'\n", None),
        (None, None),
    ],
)
def test_the_build_of_torch_is_read_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, version: str | None
):
    if text is not None:
        (tmp_path / "version.py").write_text(text)
    spec = ModuleSpec("torch", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(builds, "find_spec", lambda name: spec)
    assert torch_cuda_version() == version


def test_torch_that_is_not_there_has_no_cuda(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(builds, "find_spec", lambda name: None)
    assert torch_cuda_version() is None
