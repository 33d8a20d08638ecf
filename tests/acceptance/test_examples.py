"""Every example runs against a real server and prints the right text."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from auricle.cli.child_server import ChildServer, child_server
from conversation import MAN, WOMAN, write_conversation
from samples import ROOT, load_sample

EXAMPLES = ROOT / "examples"
DIGITS = load_sample("01")
GERMAN = load_sample("04")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChildServer]:
    folder = tmp_path_factory.mktemp("server")
    flags = ["--model", "nano", "--data-dir", str(folder), "--url-allowlist", "127.0.0.1"]
    with child_server(flags, log=folder / "server.log", start_timeout_s=60) as running:
        yield running


def run_example(server: ChildServer, name: str, *files: Path | str) -> str:
    shell = ["sh"] if name.endswith(".sh") else [sys.executable]
    done = subprocess.run(
        [*shell, EXAMPLES / name, *files],
        env=os.environ | {"OPENAI_BASE_URL": f"{server.url}/v1", "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_no_example_is_left_out():
    tested = {"transcribe_file.py", "transcribe_words.py", "transcribe_stream.py", "transcribe_batch.py", "curl.sh"}
    tested |= {"job_with_webhook.py", "who_spoke.py"}
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == tested


def test_transcribe_file(server: ChildServer):
    assert json.loads(run_example(server, "transcribe_file.py", DIGITS.path))["text"] == DIGITS.text


def test_transcribe_words(server: ChildServer):
    lines = run_example(server, "transcribe_words.py", DIGITS.path).splitlines()
    assert [line.split()[2] for line in lines] == DIGITS.text.split()


def test_transcribe_stream(server: ChildServer):
    assert run_example(server, "transcribe_stream.py", DIGITS.path).strip() == DIGITS.text


def test_transcribe_batch(server: ChildServer):
    lines = run_example(server, "transcribe_batch.py", *[DIGITS.path, GERMAN.path] * 8).splitlines()
    assert lines == [f"{DIGITS.path.name}: {DIGITS.text}", f"{GERMAN.path.name}: {GERMAN.text}"] * 8


def test_curl(server: ChildServer):
    out = run_example(server, "curl.sh", GERMAN.path)
    first, _, rest = out.partition("\n")
    assert json.loads(first)["text"] == GERMAN.text
    for part in ("00:00:00,", GERMAN.text, "Please bring", "data: [DONE]"):
        assert part in rest


def test_who_spoke(server: ChildServer, tmp_path: Path):
    talk = tmp_path / "talk.wav"
    write_conversation(talk, [WOMAN, MAN, WOMAN, MAN])
    lines = run_example(server, "who_spoke.py", talk, f"Ann={load_sample(WOMAN).path}").splitlines()
    said = [line.split(maxsplit=2)[2].partition(": ") for line in lines]
    assert [speaker for speaker, _, _ in said] == ["Ann", "A"] * 2
    assert said[0][2] == DIGITS.text


def test_job_with_webhook(server: ChildServer):
    assert json.loads(run_example(server, "job_with_webhook.py", DIGITS.path))["text"] == DIGITS.text
