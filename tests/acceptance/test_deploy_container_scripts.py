"""The scripts that images run, each by itself: no container is needed for them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from auricle.cli.child_server import child_server

FOLDER = Path(__file__).parents[2] / "deploy" / "docker"
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="shell scripts")


def run(*command: str | Path, **environment: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=os.environ | {"PATH": PATH} | {name: str(value) for name, value in environment.items()},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def enter(baked: Path, data: Path, *command: str) -> str:
    done = run(FOLDER / "entrypoint.sh", *command, BAKED_MODELS=baked, AURICLE_DATA_DIR=data)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_models_of_the_image_are_found_in_whatever_is_mounted(tmp_path: Path) -> None:
    baked, data = tmp_path / "baked", tmp_path / "data"
    for name in ("Org--one", "Org--two"):
        (baked / "models" / name).mkdir(parents=True)
    (data / "models" / "Org--two").mkdir(parents=True)
    (data / "models" / "Org--two" / "own").touch()
    (data / "models" / "Org--one").symlink_to(tmp_path / "an older image")
    for _ in range(2):
        assert enter(baked, data, "echo", "a b", "$HOME") == "a b $HOME\n"
        assert (data / "models" / "Org--one").resolve() == baked / "models" / "Org--one"
        assert (data / "models" / "Org--two" / "own").exists()
    assert list((baked / "models" / "Org--one").iterdir()) == []


def test_an_image_without_models_changes_nothing(tmp_path: Path) -> None:
    assert enter(tmp_path / "none", tmp_path / "data", "echo", "started") == "started\n"
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_tried_before_it_is_part_of_an_image(tmp_path: Path) -> None:
    done = run(FOLDER / "bake_model.sh", "nano", tmp_path)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("*.pkl"))
    failed = run(FOLDER / "bake_model.sh", "no-such-model", tmp_path)
    assert failed.returncode != 0
    assert "no-such-model" in failed.stderr
    assert run(FOLDER / "bake_model.sh").returncode != 0


def test_a_container_is_healthy_when_its_models_are_loaded(tmp_path: Path) -> None:
    check = FOLDER / "healthcheck.py"
    with child_server(["--model", "nano", "--engine", "fake"], log=tmp_path / "log", start_timeout_s=60) as server:
        port = server.url.rpartition(":")[2]
        assert run(sys.executable, check, AURICLE_PORT=port).returncode == 0
    gone = run(sys.executable, check, AURICLE_PORT=port)
    assert gone.returncode == 1
    assert "/health/ready" in gone.stderr
