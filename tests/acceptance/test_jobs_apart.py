"""What the jobs of one key leave behind is nothing to another key: no result, no hit, no message, no usage."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.integration.live_server import DIGITS, LiveServer, live_server, wait_until

AUDIO = DIGITS.read_bytes()
ASKED = {"language": "en", "prompt": "only ann knows this"}
NOWHERE = "http://127.0.0.1:9/hook"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveServer, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("apart")
    create = [sys.executable, "-m", "auricle", "keys", "create", "--data-dir", str(folder)]
    keys = {
        name: subprocess.run([*create, name], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("ann", "bob")
    }
    with live_server(folder, wait_for_ready=False, url_allowlist="127.0.0.1") as server:
        wait_until(lambda: httpx.get(f"{server.url}/health/ready").status_code == 200)
        yield server, keys


@pytest.fixture
def ann(keyed: tuple[LiveServer, dict[str, str]]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=keyed[0].url, headers={"x-api-key": keyed[1]["ann"]}, timeout=120) as client:
        yield client


@pytest.fixture
def bob(keyed: tuple[LiveServer, dict[str, str]]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=keyed[0].url, headers={"x-api-key": keyed[1]["bob"]}, timeout=120) as client:
        yield client


def run_job(client: httpx.Client, **fields: Any) -> str:
    answer = client.post("/v1/jobs", files={"file": AUDIO}, data=ASKED | fields)
    assert answer.status_code == 202, answer.text
    path = f"/v1/jobs/{answer.json()['id']}"
    wait_until(lambda: client.get(path).json()["status"] == "succeeded")
    return path


def usage(client: httpx.Client) -> list[tuple[str, int]]:
    return [(line["name"], line["requests"]) for line in client.get("/v1/usage").json()["data"]]


def test_what_a_job_made_is_found_again_by_its_own_key_only(ann: httpx.Client, bob: httpx.Client) -> None:
    def windows() -> float:
        lines = ann.get("/metrics").raise_for_status().text.splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith("auricle_windows_total "))

    def ask(client: httpx.Client) -> str:
        answer = client.post("/v1/audio/transcriptions", files={"file": AUDIO}, data=ASKED)
        return answer.raise_for_status().headers["x-auricle-cache"]

    text = ann.get(f"{run_job(ann)}/result").json()["text"]
    first = windows()
    assert first > 0
    assert ask(ann) == "hit"
    assert ann.get(f"{run_job(ann)}/result").json()["text"] == text
    assert windows() == first
    assert usage(bob) == []
    assert bob.get(f"{run_job(bob)}/result").json()["text"] == text
    assert windows() == 2 * first, "the job of the other key was worked on anew"
    assert ask(bob) == "hit"
    assert usage(ann) == [("ann", 3)]
    assert usage(bob) == [("bob", 2)]


def test_messages_and_tasks_of_one_key_are_out_of_reach_for_another(ann: httpx.Client, bob: httpx.Client) -> None:
    hers, his = run_job(ann, webhook=NOWHERE), run_job(bob, webhook=NOWHERE)
    (message,) = ann.get(f"{hers}/deliveries").json()["data"]
    for path in (hers, his):
        assert bob.post(f"{path}/deliveries/{message['id']}/redeliver").status_code == 404
    assert ann.post(f"{hers}/deliveries/{message['id']}/redeliver").status_code == 202
    job_id = hers.rpartition("/")[2]
    for method, path in (("GET", "status"), ("DELETE", "cancel")):
        assert bob.request(method, f"/{path}/{job_id}").status_code == 404
        assert ann.request(method, f"/{path}/{job_id}").status_code == 200
    assert {f"/v1/jobs/{job['id']}" for job in bob.get("/v1/jobs").json()["data"]}.isdisjoint({hers})
    with httpx.Client(base_url=bob.base_url) as stranger:
        for path in ("/v1/jobs", hers, f"{hers}/result", f"{hers}/events", "/v1/usage"):
            assert stranger.get(path).status_code == 401
