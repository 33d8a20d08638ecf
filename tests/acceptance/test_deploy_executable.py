"""The executable of PyInstaller: its entry as plain Python, and a build where PyInstaller is installed."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from auricle import __version__
from auricle.batching import replica
from auricle.cli.compare import count_word_errors
from samples import load_sample

FOLDER = Path(__file__).parents[2] / "deploy" / "pyinstaller"
DIGITS = load_sample("01")


def run(*command: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # pyright: ignore[reportCallIssue]
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        **more,  # pyright: ignore[reportArgumentType]
    )


@pytest.mark.parametrize("arguments", [("--version",), ("-m", "auricle", "--version")])
def test_the_executable_is_the_command_and_what_starts_it_again(arguments: tuple[str, ...]) -> None:
    told = run(sys.executable, FOLDER / "entry.py", *arguments)
    assert told.stdout == f"auricle {__version__}\n", told.stderr


def test_the_executable_is_the_engine_that_it_starts() -> None:
    # With nothing on its standard input, an engine ends at once and without a word.
    ended = run(sys.executable, FOLDER / "entry.py", *replica._WORKER)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.timeout(900)
@pytest.mark.skipif(importlib.util.find_spec("PyInstaller") is None, reason="pip install pyinstaller")
def test_a_build_transcribes_without_python(tmp_path: Path) -> None:
    built = subprocess.run(
        [
            *(sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "ERROR"),
            *("--distpath", tmp_path / "dist", "--workpath", tmp_path / "build", FOLDER / "auricle.spec"),
        ],
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    program = tmp_path / "dist" / "auricle" / "auricle"
    alone = {"PATH": "", "HOME": str(tmp_path)}
    told = run(program, "transcribe", DIGITS.path, "--model", "nano", "--quiet", env=alone, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert count_word_errors(DIGITS.text, told.stdout)[0] == 0
    checked = run(program, "doctor", env=alone, cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
