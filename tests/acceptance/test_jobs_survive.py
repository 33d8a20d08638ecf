"""Jobs of a real server that is killed time and again: each ends once, with the right text, and its owner is told.

``AURICLE_JOBS_FULL=1`` has 200 jobs and five kills, and an hour of audio; without it there are fewer.
"""

import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from job_recordings import FIELDS, long_frames, mixed_recordings, recording_of, wav_file
from mortal_server import MortalServer, mortal_server
from webhook_receiver import SECRET, Receiver, webhook_receiver

from postgres import Postgres, running_postgres

IS_FULL = os.environ.get("AURICLE_JOBS_FULL") == "1"
JOBS, KILLS, REFUSALS = (200, 5, 5) if IS_FULL else (24, 2, 2)
MINUTES = 60
PATIENCE_S = 280.0
TRANSCRIBE = "/v1/audio/transcriptions"

_log = logging.getLogger(__name__)

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def recordings() -> dict[str, bytes]:
    return mixed_recordings()


@pytest.fixture(scope="module")
def expected(recordings: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The text of each recording, from a server that has nothing else to do."""
    with mortal_server(tmp_path_factory.mktemp("undisturbed")) as server:
        texts = {name: transcribe(server, wav_file(frames)) for name, frames in recordings.items()}
    assert all(texts.values())
    assert len(set(texts.values())) == len(texts)
    return texts


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with running_postgres() as server:
        yield server


def transcribe(server: MortalServer, audio: bytes) -> str:
    answer = httpx.post(server.url + TRANSCRIBE, files={"file": audio}, data=FIELDS, timeout=120)
    return answer.raise_for_status().json()["text"]


class Customer:
    """Hands over jobs, and again where the answer got lost. Threads may share it."""

    def __init__(self, server: MortalServer, receiver: Receiver) -> None:
        self.ids: dict[int, set[str]] = {}
        """What the server called each of the jobs."""
        self.troubles: Counter[str] = Counter()
        self._server = server
        self._receiver = receiver
        self._http = httpx.Client(timeout=60, trust_env=False)

    def submit(self, number: int) -> None:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            try:
                answer = self._send(number)
            except httpx.TransportError:
                self.troubles["no answer"] += 1
            else:
                if answer.status_code == 202:
                    self.ids.setdefault(number, set()).add(answer.json()["id"])
                    return
                assert answer.status_code == 503, answer.text
                self.troubles["503"] += 1
            time.sleep(0.1)
        raise AssertionError(f"job {number} was not accepted")

    def close(self) -> None:
        self._http.close()

    def _send(self, number: int) -> httpx.Response:
        """Every fourth by its URL; half of the webhooks bring a secret, the others count on that of the server."""
        hook: dict[str, str] = {"url": f"{self._receiver.url}/hook"} | ({"secret": SECRET} if number % 2 else {})
        headers = {"idempotency-key": f"job-{number}"}
        url = f"{self._server.url}/v1/jobs"
        if number % 4 == 3:
            body = {"url": f"{self._receiver.url}/audio/{number}", "webhook": hook, **FIELDS}
            return self._http.post(url, json=body, headers=headers)
        form = {"webhook": json.dumps(hook), **FIELDS}
        files = {"file": (f"{number}.wav", self._receiver.files(number))}
        return self._http.post(url, data=form, files=files, headers=headers)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_every_job_ends_right_and_once_and_is_told_although_the_server_is_killed(
    tmp_path: Path,
    recordings: dict[str, bytes],
    expected: dict[str, str],
    database: str,
    request: pytest.FixtureRequest,
) -> None:
    postgres: Postgres | None = request.getfixturevalue("postgres") if database == "postgresql" else None
    settings = {
        "url_allowlist": "127.0.0.1",
        "webhook_secret": SECRET,
        "database_url": postgres.create_database() if postgres is not None else "",
    }

    def file_of(number: int) -> bytes:
        return wav_file(recordings[recording_of(number)], mark=number)

    began = time.monotonic()
    with (
        webhook_receiver(most_refusals=REFUSALS, files=file_of) as receiver,
        mortal_server(tmp_path, **settings) as server,
        closing(Customer(server, receiver)) as customer,
        ThreadPoolExecutor(4) as pool,
    ):
        submitted = [pool.submit(customer.submit, number) for number in range(JOBS)]
        for kill in range(KILLS):
            if kill == 0:
                until(lambda: len(customer.ids) >= JOBS // 3)
            else:
                until(lambda least=JOBS * kill // KILLS: ended(server) >= least)
            _log.info("kill %d at %.1f s: %s", kill + 1, time.monotonic() - began, statuses(server))
            server.kill()
            server.start()
            if kill == 0 and postgres is not None:
                until(lambda: ended(server) >= 3)
                postgres.restart()
        for one in submitted:
            one.result()
        until(lambda: ended(server) == JOBS)
        _log.info("all jobs ended at %.1f s", time.monotonic() - began)
        until(lambda: len(receiver.taken()) == JOBS)
        _log.info("all were told at %.1f s", time.monotonic() - began)

        check_record(server, customer, expected)
        check_messages(server, receiver, expected, customer)
        assert kept_audio(server) & {job_id for ids in customer.ids.values() for job_id in ids} == set()


def ended(server: MortalServer) -> int:
    return len(server.jobs(status=["succeeded", "failed", "cancelled"]))


def statuses(server: MortalServer) -> dict[str, int]:
    return dict(Counter(job["status"] for job in server.jobs()))


def kept_audio(server: MortalServer) -> set[str]:
    """Names of files; one that was being accepted at a kill is swept up some minutes later."""
    return {file.name for file in (server.data / "jobs").iterdir() if not file.name.startswith(".")}


def check_record(server: MortalServer, customer: Customer, expected: dict[str, str]) -> None:
    """Every job is there once, has succeeded, and has its text."""
    jobs = server.jobs()
    assert Counter(job["status"] for job in jobs) == {"succeeded": JOBS}
    assert {f"job-{number}": ids for number, ids in customer.ids.items()} == {
        job["idempotency_key"]: {job["id"]} for job in jobs
    }
    for number, (job_id,) in customer.ids.items():
        assert server.get(f"/v1/jobs/{job_id}/result")["text"] == expected[recording_of(number)]
    again = sum(job["attempts"] > 1 for job in jobs)
    assert again >= KILLS, "the kills came when nothing was being done"
    _log.info("%d jobs ran more than once; submitting: %s", again, dict(customer.troubles))


def check_messages(server: MortalServer, receiver: Receiver, expected: dict[str, str], customer: Customer) -> None:
    """Every job's message was taken, and all that came is genuine and right."""
    texts = {job_id: expected[recording_of(number)] for number, (job_id,) in customer.ids.items()}
    assert all(one.is_genuine for one in receiver.tries)
    assert {one.body["data"]["id"]: one.body["data"]["result"]["text"] for one in receiver.tries} == texts
    messages: set[tuple[str, str]] = set()
    for job_id in texts:
        # The server may have been killed between the answer and its note of it; then the message comes again.
        until(lambda job_id=job_id: message_of(server, job_id)["status"] == "delivered")
        messages.add((job_id, message_of(server, job_id)["id"]))
    assert {(one.body["data"]["id"], one.message_id) for one in receiver.tries} == messages
    answers = Counter(one.status for one in receiver.tries)
    assert answers[500] >= len(receiver.tries) / 4
    _log.info("%d tries of %d messages: %s", len(receiver.tries), JOBS, dict(answers))


def message_of(server: MortalServer, job_id: str) -> dict[str, Any]:
    """The only one."""
    (message,) = server.get(f"/v1/jobs/{job_id}/deliveries")["data"]
    return message


def windows(server: MortalServer) -> int:
    return server.metric("auricle_windows_total")


def submit_long(server: MortalServer, audio: bytes) -> str:
    answer = httpx.post(f"{server.url}/v1/jobs", files={"file": ("long.wav", audio)}, data=FIELDS, timeout=120)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def wait_for(server: MortalServer, job_id: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    end = time.monotonic() + PATIENCE_S
    while not condition(job := server.get(f"/v1/jobs/{job_id}")):
        assert time.monotonic() < end, job
        time.sleep(0.01)
    return job


def until(condition: Callable[[], bool]) -> None:
    """Does not ask as often as would keep the server from its work."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)


def is_over(job: dict[str, Any]) -> bool:
    return job["status"] in ("succeeded", "failed", "cancelled")


@pytest.mark.skipif(not IS_FULL, reason="takes an hour of audio; test_jobs_killed kills a job of six minutes")
def test_a_long_job_that_is_killed_at_half_does_next_to_nothing_twice(tmp_path: Path) -> None:
    audio = wav_file(long_frames(MINUTES))
    began = time.monotonic()
    with mortal_server(tmp_path / "undisturbed") as server:
        whole = submit_long(server, audio)
        assert wait_for(server, whole, is_over)["status"] == "succeeded"
        text = server.get(f"/v1/jobs/{whole}/result")["text"]
        needed = windows(server)
    _log.info("undisturbed: %d windows, %.1f s", needed, time.monotonic() - began)
    assert needed > MINUTES
    began = time.monotonic()
    with mortal_server(tmp_path / "killed") as server:
        job_id = submit_long(server, audio)
        wait_for(server, job_id, lambda job: job["progress"] >= 0.5)
        first = windows(server)
        server.kill()
        server.start()
        job = wait_for(server, job_id, is_over)
        second = windows(server)
        assert (job["status"], job["attempts"]) == ("succeeded", 2)
        assert server.get(f"/v1/jobs/{job_id}/result")["text"] == text
    twice = first + second - needed
    _log.info("killed: %d + %d windows, %d twice, %.1f s", first, second, twice, time.monotonic() - began)
    assert twice < 0.05 * needed, (first, second, needed)


def test_a_long_job_that_is_deleted_leaves_the_engine_to_others(tmp_path: Path, recordings: dict[str, bytes]) -> None:
    clip = wav_file(recordings["clip"])
    with mortal_server(tmp_path, max_batch=4) as server:
        transcribe(server, clip)
        alone = windows(server)
        job_id = submit_long(server, wav_file(long_frames(MINUTES)))
        wait_for(server, job_id, lambda job: 0.02 < job["progress"] < 0.5)
        began = time.monotonic()
        before = windows(server)
        deleted = httpx.delete(f"{server.url}/v1/jobs/{job_id}", timeout=30)
        deleted_s = time.monotonic() - began
        assert (deleted.status_code, deleted.json()["status"]) == (200, "cancelled")
        transcribe(server, wav_file(recordings["clip"], mark=1))
        free_s = time.monotonic() - began
        after = windows(server)
        _log.info("deleted after %.2f s, a clip was done after %.2f s, %d windows", deleted_s, free_s, after - before)
        assert free_s < 20
        # The clip's own, the batch that ran, and one that may have ended between the look and the order.
        assert after - before <= alone + 2 * 4
        until(lambda: server.metric("auricle_queue_rows") == 0)
        assert windows(server) == after
        assert httpx.get(f"{server.url}/v1/jobs/{job_id}/result").status_code == 409
        until(lambda: kept_audio(server) == set())
