import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from auricle import __version__
from auricle.cli.main import app
from auricle.cli.samples import list_samples
from auricle.formats.registry import FORMATS

WIDE = {"COLUMNS": "250", "TERMINAL_WIDTH": "250", "NO_COLOR": "1"}
HEAVY = ("numpy", "av", "ctranslate2", "onnxruntime", "fastapi", "uvicorn", "huggingface_hub", "openai", "httpx")


def help_of(*command: str) -> str:
    result = CliRunner().invoke(app, [*command, "--help"], env=WIDE)
    assert result.exit_code == 0
    return result.output


def test_help_loads_nothing_heavy():
    code = f"import sys, auricle.cli.main; print([name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_help_names_every_command_and_every_exit_code():
    text = help_of()
    for name in ("transcribe", "serve", "models", "doctor", "demo", "bench", "--version", "130  interrupted by Ctrl-C"):
        assert name in text


@pytest.mark.parametrize("command", ["transcribe", "serve", "doctor", "demo", "bench", "models list", "models pull"])
def test_every_help_has_an_example(command: str):
    assert f"\n auricle {command}" in help_of(*command.split())


def test_help_of_transcribe_names_every_format():
    text = help_of("transcribe")
    assert [name for name in FORMATS if f"`{name}`" not in text] == []


def test_the_version_is_that_of_the_package():
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"auricle {__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [["--unknown"], ["frob"], ["transcribe"], ["transcribe", __file__, "--jobs", "0"], ["models", "pull"]],
)
def test_wrong_usage_ends_with_2(arguments: list[str]):
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_the_examples_are_small_and_have_their_text():
    samples = list_samples()
    assert len(samples) >= 4
    assert all(sample.text for sample in samples)
    assert sum(file.stat().st_size for file in Path(samples[0].path).parent.iterdir()) < 600_000
