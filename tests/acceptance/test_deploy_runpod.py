"""The queue worker of RunPod: real jobs with the embedded model, and RunPod's own package where it is installed."""

import asyncio
import base64
import functools
import http.server
import importlib.util
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import psutil
import pytest

from auricle.audio.decode import decode_audio
from auricle.cli.compare import count_word_errors
from auricle.config import Settings
from media import CONTAINERS, encode
from queue_worker import JobIdFilter, QueueWorker
from samples import SAMPLES, load_sample

FOLDER = Path(__file__).parents[2] / "deploy" / "runpod"
DIGITS = load_sample("01")
DETAILS = {"text", "segments", "detected_language", "transcription", "translation", "device", "model"}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The samples, over HTTP."""
    serve = functools.partial(Quiet, directory=str(SAMPLES))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def settings(folder: Path, **more: Any) -> Settings:
    values = {"model": "nano", "data_dir": folder, "threads": 2, "offline": True, "url_allowlist": ("127.0.0.1",)}
    return Settings(**(values | more))


def answers(worker: QueueWorker, *inputs: Any) -> list[dict[str, Any]]:
    """Of jobs that come at once, in a loop of their own as RunPod's package makes one."""

    async def run() -> list[dict[str, Any]]:
        jobs = [{"id": f"job-{number}", "input": data} for number, data in enumerate(inputs)]
        return await asyncio.gather(*(worker.answer(job) for job in jobs))

    return asyncio.run(run())


def errors_in(text: str) -> int:
    return count_word_errors(DIGITS.text, text)[0]


def test_an_address_gives_the_text_alone(tmp_path: Path, site: str) -> None:
    (answer,) = answers(QueueWorker(settings(tmp_path)), {"audio_url": f"{site}/{DIGITS.path.name}"})
    assert set(answer) == {"text"}
    assert errors_in(answer["text"]) == 0
    assert list((tmp_path / "uploads").iterdir()) == []


def test_the_fields_of_the_public_worker_give_its_answer(tmp_path: Path) -> None:
    audio = base64.b64encode(DIGITS.path.read_bytes()).decode()
    both = {"audio_base64": audio, "word_timestamps": True, "transcription": "srt", "translate": True}
    answer, vtt, lines = answers(
        QueueWorker(settings(tmp_path)),
        both | {"translation": "formatted_text", "colour": "red"},
        {"audio_base64": audio, "transcription": "vtt"},
        {"audio_base64": audio, "transcription": "formatted_text"},
    )
    assert set(answer) == DETAILS | {"word_timestamps", "warnings"}
    assert errors_in(answer["text"]) == 0
    assert answer["transcription"].startswith("1\n00:00:0")
    assert answer["translation"]
    assert (answer["detected_language"], answer["device"], answer["model"]) == ("en", "cpu", "nano")
    assert set(answer["segments"][0]) >= {"id", "seek", "start", "end", "text", "tokens", "avg_logprob"}
    assert [word["word"] for word in answer["word_timestamps"]] == answer["text"].split()
    assert set(answer["word_timestamps"][0]) == {"word", "start", "end"}
    assert "colour" in answer["warnings"][0]
    assert set(vtt) == DETAILS
    assert vtt["transcription"].startswith("WEBVTT")
    assert vtt["translation"] is None
    assert lines["transcription"].split() == lines["text"].split()
    json.dumps([answer, vtt, lines], allow_nan=False)


def test_every_format_of_the_worker_that_is_replaced_is_read(tmp_path: Path) -> None:
    samples = np.concatenate(list(decode_audio(DIGITS.path)))
    files = [
        encode(samples, tmp_path / name, CONTAINERS[name])
        for name in ("m4a", "ogg", "opus", "webm", "wma", "aac", "amr", "3gp")
    ]
    jobs = [{"audio_base64": base64.b64encode(file.read_bytes()).decode()} for file in files]
    for answer in answers(QueueWorker(settings(tmp_path, engine="fake")), *jobs):
        assert answer["segments"], answer


def test_what_is_wrong_is_returned_in_the_known_words(tmp_path: Path, site: str) -> None:
    text = base64.b64encode(b"This is a letter, not a recording.\n" * 50).decode()
    found = answers(
        QueueWorker(settings(tmp_path)),
        {},
        {"language": "de"},
        {"audio_url": 7},
        {"audio_url": f"{site}/nothing.wav"},
        {"audio_url": "http://127.0.0.2/inside.wav"},
        {"audio_url": "file:///etc/passwd"},
        {"audio_base64": text},
        {"audio_base64": "§"},
        {"audio_url": f"{site}/{DIGITS.path.name}", "model": "no-such-model"},
    )
    assert all(set(answer) == {"error"} for answer in found)
    errors = [answer["error"] for answer in found]
    assert errors[:3] == ["Input data is empty", "Missing required field: audio_url", "audio_url must be a string"]
    assert errors[3:6] == ["Failed to download audio file"] * 3
    assert errors[6].startswith("Transcription failed: ")
    assert "base64" in errors[7]
    assert errors[8].startswith("Transcription failed: ")
    assert "no-such-model" in errors[8]


def test_nothing_is_loaded_before_the_first_job(tmp_path: Path) -> None:
    worker = QueueWorker(settings(tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert worker.concurrency(1) > 1


def test_log_lines_carry_the_id_of_their_job(tmp_path: Path, site: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.addFilter(JobIdFilter())
    with caplog.at_level(logging.INFO, "auricle"):
        answers(QueueWorker(settings(tmp_path)), {"audio_url": f"{site}/{DIGITS.path.name}"}, {"audio_url": 7})
    lines = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("job job-0: done: ") for line in lines)
    assert any(line.startswith("job job-1: ") and "must be a string" in line for line in lines)


needs_runpod = pytest.mark.skipif(
    importlib.util.find_spec("runpod") is None, reason="pip install -r deploy/runpod/requirements.txt"
)


def environment(folder: Path, **more: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("RUNPOD_")}
    return own | {"AURICLE_DATA_DIR": str(folder), "AURICLE_OFFLINE": "true", "AURICLE_MODEL": "nano"} | more


@needs_runpod
def test_the_local_mode_of_runpod_runs_the_test_input(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "handler.py"],
        cwd=FOLDER,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "completed successfully" in done.stdout
    assert "'text': 'One, two, seven, three, three.'" in done.stdout


class Queue(http.server.BaseHTTPRequestHandler):
    """What a worker asks of RunPod: jobs, and where their results go."""

    jobs: ClassVar[list[dict[str, Any]]] = []
    results: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        taken, self.jobs[:] = list(self.jobs), []
        single = "/job-take/" in self.path
        self._answer(json.dumps(taken[0] if single else taken).encode() if taken else b"")
        time.sleep(0 if taken else 0.2)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.results[self.path.split("/")[-1].partition("?")[0]] = body
        self._answer(b"{}")

    def _answer(self, body: bytes) -> None:
        self.send_response(200 if body else 204)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing."""


@needs_runpod
def test_jobs_of_a_queue_are_done_side_by_side_and_engines_end_with_the_worker(tmp_path: Path) -> None:
    job = json.loads((FOLDER / "test_input.json").read_text())
    Queue.jobs[:] = [job | {"id": f"job-{number}"} for number in range(3)] + [{"id": "bad", "input": {"audio": 1}}]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Queue) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        own = environment(
            tmp_path,
            RUNPOD_WEBHOOK_GET_JOB=f"{url}/job-take/$ID?gpu=none",
            RUNPOD_WEBHOOK_POST_OUTPUT=f"{url}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
            RUNPOD_SKIP_AUTO_SYSTEM_CHECKS="true",
            RUNPOD_LOG_LEVEL="INFO",
        )
        with (tmp_path / "log").open("w") as log:
            worker = subprocess.Popen([sys.executable, "handler.py"], cwd=FOLDER, env=own, stdout=log, stderr=log)
        try:
            end = time.monotonic() + 240
            while len(Queue.results) < 4 and worker.poll() is None and time.monotonic() < end:
                time.sleep(0.1)
            engines = psutil.Process(worker.pid).children(recursive=True)
            worker.terminate()
            worker.wait(60)
        finally:
            worker.kill()
            worker.wait()
            server.shutdown()
    written = (tmp_path / "log").read_text()
    assert set(Queue.results) == {"job-0", "job-1", "job-2", "bad"}, written
    assert Queue.results["bad"]["error"] == "audio must be a string"
    for number in range(3):
        assert Queue.results[f"job-{number}"]["output"]["text"] == "One, two, seven, three, three."
        assert f"job job-{number}: done" in written
    assert "seven" not in written
    assert engines
    assert not psutil.wait_procs(engines, timeout=10)[1]
