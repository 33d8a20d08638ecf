"""The benchmark of the PyTorch engine, in seconds: small shapes on a CPU keep it honest where there is no GPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def test_all_of_it_runs_on_a_cpu_and_writes_its_figures(tmp_path: Path):
    pytest.importorskip("torch")
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--sizes", "nano", "--quick", "--no-peer"]
    folders = ["--out", str(tmp_path / "results"), "--cache", str(tmp_path / "cache")]
    root = Path(__file__).parents[2]
    done = subprocess.run([*command, *folders], cwd=root, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (written,) = (tmp_path / "results").glob("*.json")
    found = json.loads(written.read_text())["sizes"]["nano"]
    assert [step["slots"] for step in found["step"]] == [1, 4, 8]
    assert all(one["ms_per_window"] > 0 for one in found["encoder"])
    assert found["plain"]["slots_used"] > 0.85
    assert 5 < found["plain"]["tokens_per_window"] < 200
    assert found["http"]["files"]["requests"] == 2
    assert done.stdout.splitlines()[-1].startswith("nano")
