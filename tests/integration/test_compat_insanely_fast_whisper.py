"""The API of "Insanely Fast Whisper API" against a real server, with audio behind real URLs."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from audio_host import AudioHost, audio_host
from live_server import DIGITS, GERMAN, MINUTE, SILENCE, LiveServer, live_server, wait_until

BACKGROUND = "Task is being processed in the background"


@pytest.fixture(scope="module")
def host() -> Iterator[AudioHost]:
    with audio_host() as host:
        yield host


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("tasks"), url_allowlist="127.0.0.1") as live:
        yield live


@pytest.fixture
def api(server: LiveServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def completed(api: httpx.Client, task_id: str) -> dict[str, Any]:
    wait_until(lambda: api.get(f"/status/{task_id}").json()["status"] != "processing")
    return api.get(f"/status/{task_id}").json()


def text_of(api: httpx.Client, audio: Path) -> str:
    return api.post("/v1/audio/transcriptions", files={"file": audio.read_bytes()}).json()["text"]


def test_the_answer_holds_the_text_and_its_chunks(api: httpx.Client, host: AudioHost) -> None:
    answer = api.post("/", json={"url": host.file(DIGITS), "language": "None", "batch_size": 24})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body.keys() == {"output", "status", "task_id"}
    assert body["status"] == "completed"
    assert body["output"].keys() == {"text", "chunks"}
    assert body["output"]["text"].strip() == text_of(api, DIGITS)
    chunks = body["output"]["chunks"]
    assert all(chunk.keys() == {"timestamp", "text"} for chunk in chunks)
    assert "".join(chunk["text"] for chunk in chunks).strip() == body["output"]["text"].strip()
    assert all(len(chunk["timestamp"]) == 2 for chunk in chunks)
    assert api.get(f"/status/{body['task_id']}").json() == {"status": "completed", "output": body["output"]}, "kept"


@pytest.mark.parametrize("timestamp", ["word", "work"])
def test_words_have_times_where_they_are_asked_for(api: httpx.Client, host: AudioHost, timestamp: str) -> None:
    output = api.post("/", json={"url": host.file(DIGITS), "timestamp": timestamp}).json()["output"]
    assert len(output["chunks"]) == len(output["text"].split())
    starts = [chunk["timestamp"][0] for chunk in output["chunks"]]
    assert starts == sorted(starts)


def test_a_task_in_the_background_is_told_by_webhook_and_status(api: httpx.Client, host: AudioHost) -> None:
    host.messages.clear()
    host.fail_next = 1
    host.released.clear()
    webhook = {"url": f"{host.url}/hook", "header": {"X-Secret": "s3"}}
    answer = api.post("/", json={"url": host.slow_file(GERMAN), "is_async": True, "webhook": webhook})
    task_id = answer.json()["task_id"]
    assert answer.status_code == 200
    assert answer.json() == {
        "detail": BACKGROUND,
        "message": BACKGROUND,
        "status": "processing",
        "task_id": task_id,
    }
    assert api.get(f"/status/{task_id}").json() == {"status": "processing"}
    assert task_id in api.get("/tasks").json()["tasks"]
    host.released.set()
    found = completed(api, task_id)
    assert found.keys() == {"status", "output"}
    wait_until(lambda: len(host.messages) == 2)
    headers, body = host.messages[-1]
    assert json.loads(body) == {"output": found["output"], "status": "completed", "task_id": task_id}
    assert headers["x-secret"] == "s3"
    assert task_id not in api.get("/tasks").json()["tasks"]
    assert api.delete(f"/cancel/{task_id}").json() == found, "too late"


def test_a_call_that_waits_tells_its_webhook_too(api: httpx.Client, host: AudioHost) -> None:
    host.messages.clear()
    host.fail_next = 0
    asked = {"url": host.file(DIGITS), "webhook": {"url": host.url, "headers": {"X-A": "1"}}}
    body = api.post("/", json=asked).json()
    wait_until(lambda: host.messages)
    headers, message = host.messages[0]
    assert json.loads(message) == body
    assert headers["x-a"] == "1"


def test_what_goes_wrong_is_told_everywhere(api: httpx.Client, host: AudioHost) -> None:
    host.messages.clear()
    asked = {"url": f"{host.url}/missing.wav", "webhook": {"url": host.url}, "managed_task_id": "bad"}
    answer = api.post("/", json=asked)
    assert answer.status_code == 400
    assert answer.json().keys() == {"detail"}
    message = answer.json()["detail"]
    assert api.get("/status/bad").json() == {"status": "error", "error": message}
    wait_until(lambda: host.messages)
    assert json.loads(host.messages[0][1]) == {"error": message, "status": "error", "task_id": "bad"}


def test_a_task_has_the_name_that_its_client_gives_it(api: httpx.Client, host: AudioHost) -> None:
    host.released.clear()
    asked = {"url": host.slow_file(DIGITS), "is_async": True, "managed_task_id": "my/own 1"}
    assert api.post("/", json=asked).json()["task_id"] == "my/own 1"
    assert api.get("/tasks").json() == {"tasks": ["my/own 1"]}
    assert api.post("/", json=asked).json()["status"] == "processing"
    assert api.get("/tasks").json() == {"tasks": ["my/own 1"]}, "the same task"
    other = api.post("/", json=asked | {"url": host.file(SILENCE)})
    assert (other.status_code, other.json().keys()) == (400, {"detail"})
    host.released.set()


def test_a_name_is_free_again_when_its_task_has_ended(api: httpx.Client, host: AudioHost) -> None:
    asked = {"url": f"{host.url}/missing.wav", "is_async": True, "managed_task_id": "7"}
    api.post("/", json=asked)
    assert completed(api, "7")["status"] == "error"
    api.post("/", json=asked | {"managed_task_id": 7, "url": host.file(DIGITS)})
    assert completed(api, "7")["status"] == "completed"
    api.post("/", json=asked)
    assert completed(api, "7")["status"] == "error", "another task of the same name"


def test_a_running_task_is_cancelled(api: httpx.Client, host: AudioHost) -> None:
    host.messages.clear()
    host.fail_next = 0
    asked = {"url": host.slow_file(MINUTE), "is_async": True, "webhook": {"url": host.url}}
    host.released.clear()
    task_id = api.post("/", json=asked).json()["task_id"]
    answer = api.delete(f"/cancel/{task_id}")
    assert (answer.status_code, answer.json()) == (200, {"status": "cancelled"})
    assert api.get(f"/status/{task_id}").json() == {"status": "cancelled"}
    assert api.get(f"/v1/jobs/{task_id}").json()["status"] == "cancelled", "the job behind it"
    wait_until(lambda: host.messages)
    assert json.loads(host.messages[0][1])["status"] == "error"
    host.released.set()


def test_a_task_that_its_client_waits_for_is_not_cancelled_by_its_name(api: httpx.Client, host: AudioHost) -> None:
    host.released.clear()
    answers: list[httpx.Response] = []
    asked = {"url": host.slow_file(DIGITS), "managed_task_id": "waits"}
    thread = threading.Thread(target=lambda: answers.append(httpx.post(f"{api.base_url}", json=asked, timeout=60)))
    thread.start()
    wait_until(lambda: api.get("/status/waits").status_code == 200)
    refused = api.delete("/cancel/waits")
    assert (refused.status_code, refused.json()) == (400, {"detail": "Not a background task"})
    host.released.set()
    thread.join()
    assert answers[0].json()["status"] == "completed"


def test_a_task_of_a_client_that_left_ends(api: httpx.Client, host: AudioHost) -> None:
    host.released.clear()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{api.base_url}", json={"url": host.slow_file(MINUTE)}, timeout=1)
    wait_until(lambda: api.get("/tasks").json() == {"tasks": []})
    assert api.get("/v1/jobs").json()["data"][0]["status"] == "cancelled"
    host.released.set()


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "Invalid URL"),
        ({"url": "ftp://example.com/a.wav"}, "Invalid URL"),
        ({"url": 5}, "Invalid URL"),
        ({"url": "data:audio/wav;base64,AAAA"}, "Invalid URL"),
        ({"url": "https://example.com/a.wav", "diarise_audio": "perhaps"}, "diarise_audio"),
        ({"url": "https://example.com/a.wav", "task": "sing"}, "task"),
        ({"url": "https://example.com/a.wav", "language": "klingon"}, "language"),
        ({"url": "https://example.com/a.wav", "webhook": "x"}, "webhook"),
        ({"url": "https://example.com/a.wav", "webhook": {"url": "http://10.0.0.1/"}}, "10.0.0.1"),
        ({"url": "https://example.com/a.wav", "managed_task_id": "x" * 201}, "managed_task_id"),
        ({"url": "http://169.254.169.254/latest"}, "169.254.169.254"),
        ([], "object"),
    ],
)
def test_what_is_wrong_with_a_request_is_told(api: httpx.Client, body: Any, detail: str) -> None:
    answer = api.post("/", json=body)
    assert answer.status_code == 400
    assert answer.json().keys() == {"detail"}
    assert detail in answer.json()["detail"]
    assert api.get("/tasks").json() == {"tasks": []}


@pytest.mark.parametrize("task_id", ["x", "0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b", "%00", "x" * 300, "a/b"])
def test_an_unknown_task_is_not_found(api: httpx.Client, task_id: str) -> None:
    for answer in (api.get(f"/status/{task_id}"), api.delete(f"/cancel/{task_id}")):
        assert (answer.status_code, answer.json()) == (404, {"detail": "Task not found"})


def test_translation_is_made_by_models_that_can(api: httpx.Client, host: AudioHost) -> None:
    output = api.post("/", json={"url": host.file(GERMAN), "task": "translate", "language": "german"}).json()["output"]
    expected = api.post("/v1/audio/translations", files={"file": GERMAN.read_bytes()}, data={"language": "de"})
    assert output["text"].strip() == expected.json()["text"]


def test_the_root_is_left_for_a_page(api: httpx.Client) -> None:
    assert api.get("/").json().keys() == {"error"}
    assert api.get("/status").status_code == 200


def test_the_admin_key_of_the_old_server_lets_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "an admin key of some length"
    monkeypatch.setenv("ADMIN_KEY", key)
    with (
        live_server(
            tmp_path, wait_for_ready=False, compat_env="insanely-fast-whisper-api", url_allowlist="127.0.0.1"
        ) as live,
        audio_host() as host,
    ):
        wait_until(lambda: httpx.get(f"{live.url}/health/ready").status_code == 200)
        asked = {"url": host.file(DIGITS)}
        for headers in ({}, {"x-admin-api-key": "wrong"}):
            for method, path in (("POST", "/"), ("GET", "/tasks"), ("GET", "/status/x"), ("DELETE", "/cancel/x")):
                answer = httpx.request(method, live.url + path, headers=headers)
                assert (answer.status_code, answer.json()) == (401, {"detail": "Unauthorized"})
        good = httpx.post(live.url, json=asked, headers={"x-admin-api-key": key}, timeout=60)
        assert good.json()["status"] == "completed"
