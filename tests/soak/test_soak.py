"""A short soak; ``make soak`` runs a long one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = float(os.environ.get("AURICLE_SOAK_S", "25"))


@pytest.mark.timeout(SECONDS + 300)
def test_a_server_under_mixed_load_stays_right_and_leaves_nothing_behind(tmp_path: Path) -> None:
    out = tmp_path / "soak.json"
    command = [sys.executable, "-m", "tests.soak", "--minutes", str(SECONDS / 60), "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(out.read_text())
    assert result["unexpected"] == []
    # The load was what it says it is.
    for name in ("ok", "compared", "rejected", "refused", "left", "jobs", "kills", "bursts", "switches", "cache_hit"):
        assert result["counts"].get(name), name
