import subprocess
import sys
from pathlib import Path

from repo_files import ROOT


def test_the_layers_are_kept() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    outcome = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert ", 0 broken" in outcome.stdout
