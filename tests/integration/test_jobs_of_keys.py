"""Jobs of callers with keys: whose they are, their limits, and the command line."""

import json
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from audio_host import AudioHost, audio_host
from job_calls import NOBODY, ended, refused, upload
from live_server import DIGITS, MINUTE, LiveServer, live_server, wait_until


@pytest.fixture(scope="module")
def host() -> Iterator[AudioHost]:
    with audio_host() as host:
        yield host


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveServer, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("keyed")
    limits = {"ann": (), "bob": (), "few": ("--limits", "2/hour"), "short": ("--limits", "70s/hour")}
    limits |= {"tiny": ("--models", "tiny"), "calm": ("--priority", "batch"), "sips": ("--limits", "50s/hour")}
    keys = {
        name: subprocess.run(
            [sys.executable, "-m", "auricle", "keys", "create", name, *flags, "--data-dir", str(folder)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for name, flags in limits.items()
    }
    with live_server(folder, wait_for_ready=False, url_allowlist="127.0.0.1") as live:
        wait_until(lambda: httpx.get(f"{live.url}/health/ready").status_code == 200)
        yield live, keys


def client_of(keyed: tuple[LiveServer, dict[str, str]], name: str) -> httpx.Client:
    return httpx.Client(base_url=keyed[0].url, headers={"x-api-key": keyed[1][name]}, timeout=60)


def test_jobs_of_one_key_do_not_exist_for_another(keyed: tuple[LiveServer, dict[str, str]]) -> None:
    with client_of(keyed, "ann") as ann, client_of(keyed, "bob") as bob:
        job_id = upload(ann, headers={"idempotency-key": "same"})["id"]
        assert ended(ann, job_id)["status"] == "succeeded"
        assert bob.get("/v1/jobs").json()["data"] == []
        for method, path in (
            ("GET", ""),
            ("GET", "/result"),
            ("GET", "/events"),
            ("GET", "/deliveries"),
            ("DELETE", ""),
            ("POST", f"/deliveries/{NOBODY}/redeliver"),
        ):
            refused(bob.request(method, f"/v1/jobs/{job_id}{path}"), 404, "job_not_found")
        assert upload(bob, headers={"idempotency-key": "same"})["id"] != job_id
        assert ann.get(f"/v1/jobs/{job_id}/result").status_code == 200
        assert httpx.get(f"{keyed[0].url}/v1/jobs/{job_id}").status_code == 401
        used = ann.get("/v1/usage").json()["data"][0]
        assert (used["requests"], used["audio_seconds"] > 1) == (1, True)


def test_jobs_count_against_the_limits_of_a_key(keyed: tuple[LiveServer, dict[str, str]]) -> None:
    with client_of(keyed, "few") as few:
        items = [{"url": "https://audio.invalid/a.wav"}] * 3
        statuses = [one["status"] for one in few.post("/v1/jobs/batch", json=items).json()["data"]]
        assert statuses == [202, 202, 429]
        refused(few.post("/v1/jobs", json=items[0]), 429, "rate_limit_exceeded")
        assert few.get("/v1/jobs").status_code == 200, "looking costs nothing"
    with client_of(keyed, "short") as short:
        upload(short, MINUTE, headers={"idempotency-key": "minute"})
        upload(short, headers={"idempotency-key": "digits"})
        again = short.post("/v1/jobs", files={"file": MINUTE.read_bytes()}, headers={"idempotency-key": "new"})
        refused(again, 429, "rate_limit_exceeded")


def test_the_audio_of_urls_counts_when_it_is_fetched(keyed: tuple[LiveServer, dict[str, str]], host: AudioHost) -> None:
    with client_of(keyed, "sips") as sips:
        first, second = (sips.post("/v1/jobs", json={"url": host.file(path)}).json()["id"] for path in (MINUTE, DIGITS))
        assert ended(sips, first)["status"] == "succeeded", "what is begun is done"
        third = sips.post("/v1/jobs", json={"url": host.file(DIGITS)}).json()["id"]
        wait_until(lambda: sips.get(f"/v1/jobs/{third}").json()["attempts"] == 1)
        wait_until(lambda: sips.get(f"/v1/jobs/{third}").json()["status"] == "queued")
        used = sips.get("/v1/usage").json()["data"][0]
        assert (used["requests"], used["audio_seconds"] >= 59) == (3, True)
        for job_id in (second, third):
            sips.delete(f"/v1/jobs/{job_id}")


def test_models_and_priorities_of_a_key_hold_for_jobs(keyed: tuple[LiveServer, dict[str, str]]) -> None:
    with client_of(keyed, "tiny") as tiny:
        refused(tiny.post("/v1/jobs", files={"file": DIGITS.read_bytes()}), 404, "model_not_found", "model")
    with client_of(keyed, "calm") as calm:
        urgent = calm.post("/v1/jobs", files={"file": DIGITS.read_bytes()}, data={"priority": "interactive"})
        refused(urgent, 400, "invalid_option", "priority")
        assert upload(calm)["priority"] == "batch"


def test_the_command_line_hands_over_and_fetches(keyed: tuple[LiveServer, dict[str, str]]) -> None:
    def auricle(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "auricle", "jobs", *arguments, "--server", keyed[0].url]
        return subprocess.run(
            [*command, "--api-key", keyed[1]["bob"]], capture_output=True, text=True, timeout=60, check=False
        )

    waited = auricle("submit", str(DIGITS), "--wait", "--format", "srt", "--language", "en")
    assert (waited.returncode, "-->" in waited.stdout) == (0, True), waited.stderr
    job_id = auricle("submit", str(MINUTE), "--priority", "batch").stdout.strip()
    assert job_id in auricle("list").stdout
    assert json.loads(auricle("show", job_id).stdout)["source"]["name"] == MINUTE.name
    assert auricle("cancel", job_id).returncode == 0
    failed = auricle("result", NOBODY)
    assert (failed.returncode, failed.stdout, failed.stderr.startswith("error: ")) == (4, "", True), failed.stderr
