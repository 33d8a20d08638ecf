"""``auricle bench`` as a user runs it, with the embedded model."""

import json
import subprocess
import sys


def test_it_measures_the_embedded_model_without_anything_else():
    command = [sys.executable, "-m", "auricle", "bench", "--model", "nano", "--seconds", "4", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    assert body["file"]["audio_s"] >= 30
    assert [level["clients"] for level in body["clips"]] == [1, 4, 8]
    assert all(level["clips"] >= 3 * level["clients"] and level["rtfx"] > 0 for level in body["clips"])


def test_a_model_that_is_not_there_is_named():
    command = [sys.executable, "-m", "auricle", "bench", "--model", "not/there", "--offline"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert "not/there" in done.stderr
