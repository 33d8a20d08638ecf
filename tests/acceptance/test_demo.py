"""The demo as its users run it, without a terminal."""

import os
import subprocess
import sys

import psutil

from auricle.cli.samples import list_samples

RUN = "from auricle.cli.main import main; main()"
WITHOUT_OPENAI = f"import sys; sys.modules['openai'] = None; {RUN}"


def run_demo(*flags: str, code: str = RUN, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, "demo", *flags]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | env, timeout=180, check=False)


def servers() -> set[int]:
    lines = {process.pid: process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])}
    return {pid for pid, line in lines.items() if "auricle" in line and "serve" in line and "nano" in line}


def test_the_demo_shows_every_kind_of_answer_and_leaves_no_server():
    before = servers()
    done = run_demo()
    assert (done.returncode, done.stderr) == (0, "")
    assert "for trying out only" in done.stdout
    for sample in list_samples():
        assert sample.path.name in done.stdout
    for shown in ("One, two, seven, three, three.", "--> ", "eight, 0.", "stream=True", "RTFx", "words right"):
        assert shown in done.stdout
    assert servers() - before == set()


def test_a_server_that_is_not_ready_in_time_fails_the_demo():
    done = run_demo("--timeout-s", "0.001")
    assert done.returncode == 1
    assert "error: the server was not ready after 0.001 s" in done.stderr
    assert "The server's log ends with:" in done.stderr


def test_a_server_that_ends_fails_the_demo_with_its_log():
    done = run_demo(AURICLE_ENGINE="steam")
    assert done.returncode == 1
    assert "error: the server ended with exit code 2" in done.stderr
    assert "there is no engine 'steam'" in done.stderr


def test_without_the_client_the_demo_says_what_to_install():
    done = run_demo(code=WITHOUT_OPENAI)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert "pip install 'auricle[demo]'" in done.stderr
