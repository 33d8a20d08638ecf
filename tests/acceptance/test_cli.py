"""The command line as its users run it: real processes, the embedded model."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from auricle.cli.child_server import ChildServer, child_server
from auricle.cli.compare import count_word_errors
from auricle.formats.registry import FORMATS, SPEAKERS_FORMAT
from samples import SAMPLES, load_sample

AURICLE = (sys.executable, "-m", "auricle")
DIGITS = load_sample("01")
HUMAN = load_sample("07")
LAYOUT = load_sample("09")


def auricle(
    *arguments: str | Path, stdin: bytes | None = None, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    done = subprocess.run(
        [*AURICLE, *map(str, arguments)],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        cwd=cwd,
        env=os.environ | {"AURICLE_MODEL": "nano"} | (env or {}),
        timeout=120,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChildServer]:
    log = tmp_path_factory.mktemp("server") / "server.log"
    with child_server(["--model", "nano"], log=log, start_timeout_s=60) as running:
        yield running


@pytest.fixture
def long_file(tmp_path: Path) -> Path:
    """Half an hour of speech, which takes longer than any test waits."""
    with wave.open(str(LAYOUT.path)) as speech, wave.open(str(tmp_path / "long.wav"), "wb") as file:
        file.setparams(speech.getparams())
        frames = speech.readframes(speech.getnframes())
        for _ in range(100):
            file.writeframes(frames)
    return tmp_path / "long.wav"


def test_a_file_gives_its_text_on_standard_output_and_nothing_else():
    done = auricle("transcribe", DIGITS.path)
    assert (done.returncode, done.stdout) == (0, DIGITS.text + "\n")
    assert "01_en_slt.wav: 3.7 s in " in done.stderr
    assert "en, nano" in done.stderr


def test_the_fixed_names_work_together():
    done = auricle(
        *("transcribe", DIGITS.path, "--model", "nano", "--engine", "ct2", "--compute-type", "float32"),
        *("--language", "en", "--task", "transcribe", "--format", "verbose_json", "--words", "--output", "-"),
    )
    body = json.loads(done.stdout)
    assert body["text"] == DIGITS.text
    assert [entry["word"] for entry in body["words"]] == DIGITS.text.split()


def test_standard_input_is_transcribed():
    done = auricle("transcribe", "-", "--format", "json", stdin=DIGITS.path.read_bytes())
    assert json.loads(done.stdout)["text"] == DIGITS.text


def test_german_speech_is_translated():
    done = auricle("transcribe", load_sample("04").path, "--task", "translate", "--quiet")
    assert done.stdout.startswith("Please bring")
    assert done.stderr == ""


def test_a_folder_gives_files_in_every_format_and_says_what_it_skips(tmp_path: Path):
    for sample in (DIGITS, HUMAN):
        shutil.copy(sample.path, tmp_path)
        shutil.copy(sample.path.with_suffix(".txt"), tmp_path)
    done = auricle("transcribe", ".", "--format", "all", "--output-dir", "out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "skipped: 2 files that are not audio or video" in done.stderr
    assert "2 of 2 files" in done.stderr
    suffixes = [form.suffix for name, form in FORMATS.items() if name != SPEAKERS_FORMAT]
    wanted = {f"{sample.name}{suffix}" for sample in (DIGITS, HUMAN) for suffix in suffixes}
    assert {path.name for path in (tmp_path / "out").iterdir()} == wanted
    assert (tmp_path / "out" / "01_en_slt.txt").read_text() == DIGITS.text + "\n"


def test_files_that_are_there_are_kept_unless_told_otherwise(tmp_path: Path):
    shutil.copy(DIGITS.path, tmp_path / "a.wav")
    mine = tmp_path / "a.txt"
    mine.write_text("mine")
    assert auricle("transcribe", tmp_path).returncode == 0
    assert mine.read_text() == "mine"
    assert auricle("transcribe", tmp_path, "--overwrite").returncode == 0
    assert mine.read_text() == DIGITS.text + "\n"


def test_a_file_that_fails_stops_no_other_and_gives_the_exit_code(tmp_path: Path):
    done = auricle("transcribe", SAMPLES / "01_en_slt.txt", DIGITS.path, HUMAN.path, "--output-dir", tmp_path)
    assert done.returncode == 3
    assert "error: 01_en_slt.txt: " in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"01_en_slt.wav.txt", "07_en_human_digits.txt"}


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["nowhere.wav"], 2, "there is no file nowhere.wav"),
        ([SAMPLES / "01_en_slt.txt"], 3, "not an audio or video file"),
        ([DIGITS.path, "--model", "no-such-model"], 4, "there is no model 'no-such-model'"),
        ([DIGITS.path, "--model", "tiny", "--offline"], 4, "auricle models pull tiny"),
        ([DIGITS.path, "--format", "doc"], 2, "'doc' does not exist"),
        ([DIGITS.path, "--format", "all"], 2, "--output-dir"),
        ([DIGITS.path, "--beam-size", "99"], 2, "--beam-size=99"),
        ([DIGITS.path, "--language", "klingon"], 2, "klingon"),
        ([DIGITS.path, "--max-lines", "0"], 2, "max_lines"),
        ([DIGITS.path, "--engine", "steam"], 2, "steam"),
        ([DIGITS.path, "--max-audio-s", "1"], 3, "1"),
        ([DIGITS.path, "--server", "http://127.0.0.1:1"], 5, "no answer from http://127.0.0.1:1"),
    ],
)
def test_an_error_is_one_line_with_its_exit_code(tmp_path: Path, arguments: list[str | Path], code: int, told: str):
    done = auricle("transcribe", *arguments, env={"AURICLE_DATA_DIR": str(tmp_path)})
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert told in done.stderr


def test_debug_shows_where_an_error_comes_from():
    done = auricle("--debug", "transcribe", DIGITS.path, "--language", "klingon")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "InvalidOption" in done.stderr


def test_a_server_gives_the_same_files_as_this_process(server: ChildServer, tmp_path: Path):
    flags = ("--format", "all", "--words", "--diarize", "--max-line-width", "20", "--quiet")
    for folder, where in (("here", ()), ("there", ("--server", server.url))):
        done = auricle("transcribe", LAYOUT.path, *flags, "--output-dir", tmp_path / folder, *where)
        assert (done.returncode, done.stderr) == (0, "")
    bodies: list[dict[str, str]] = []
    for folder in ("here", "there"):
        files = {path.name: path.read_text() for path in (tmp_path / folder).iterdir()}
        verbose = json.loads(files.pop(f"{LAYOUT.name}.verbose.json"))
        del verbose["x_auricle"]["timings"]
        bodies.append(files | {"verbose": json.dumps(verbose)})
    assert len(bodies[0]) == len(FORMATS)
    assert bodies[1] == bodies[0]


@pytest.mark.parametrize(
    ("arguments", "code"), [([SAMPLES / "01_en_slt.txt"], 3), ([DIGITS.path, "--model", "no-such-model"], 4)]
)
def test_errors_of_a_server_have_their_exit_codes(server: ChildServer, arguments: list[str | Path], code: int):
    done = auricle("transcribe", *arguments, "--server", server.url)
    assert done.returncode == code
    assert done.stderr.startswith("error: ")


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_command_and_its_engine(tmp_path: Path, long_file: Path, number: int, code: int):
    command = [*AURICLE, "transcribe", str(long_file), "--model", "nano", "--output-dir", str(tmp_path / "out")]
    # A shell starts what runs in its background with SIGINT ignored, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        engines: list[psutil.Process] = []
        while not engines and process.poll() is None:
            engines = psutil.Process(process.pid).children()
            time.sleep(0.02)
        process.send_signal(number)
        _, told = process.communicate(timeout=30)
    assert (process.returncode, told) == (code, b"")
    assert engines
    assert psutil.wait_procs(engines, timeout=10)[1] == []
    assert list((tmp_path / "out").iterdir()) == []


def test_models_are_listed():
    rows = json.loads(auricle("models", "list", "--json").stdout)
    by_name = {row["name"]: row for row in rows}
    assert by_name["nano"]["downloaded"] is True
    assert by_name["nano"]["size_bytes"] > 10_000_000
    assert by_name["large-v3-turbo"]["source"] == "dropbox-dash/faster-whisper-large-v3-turbo"
    table = auricle("models", "list").stdout
    assert all(name in table for name in by_name)


def test_removing_what_is_not_there_is_not_found(tmp_path: Path):
    assert auricle("models", "remove", "tiny", "--data-dir", tmp_path).returncode == 4
    assert auricle("models", "remove", "nano", "--data-dir", tmp_path).returncode == 2


def test_pulling_without_a_network_is_not_found(tmp_path: Path):
    done = auricle("models", "pull", "tiny", "--data-dir", tmp_path, "--offline")
    assert done.returncode == 4
    assert "tiny" in done.stderr


def test_the_doctor_tries_a_real_engine():
    done = auricle("doctor", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (0, True)
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["engine"]["engine"] == checks["self-test"]["engine"]
    assert checks["engine"]["engine"] in checks["engine"]["installed"]
    assert checks["engine"]["reason"]
    assert checks["packages"]["versions"]["ctranslate2"]
    assert count_word_errors(checks["self-test"]["reference"], checks["self-test"]["text"])[0] == 0


def test_the_doctor_fails_where_the_engine_does():
    done = auricle("doctor", "--compute-type", "int3")
    assert done.returncode == 1
    assert "FAIL  self-test" in done.stdout
    assert "int3" in done.stdout
