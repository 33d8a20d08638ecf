"""``/v1/jobs`` of a real server, with audio behind real URLs and a real receiver of webhooks."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from audio_host import AudioHost, audio_host
from job_calls import NOBODY, ended, refused, upload
from live_server import DIGITS, MINUTE, SILENCE, LiveServer, live_server, wait_until
from openai import OpenAI

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
SLOW = {"beam_size": "16", "vad": "false"}


@pytest.fixture(scope="module")
def host() -> Iterator[AudioHost]:
    with audio_host() as host:
        yield host


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(
        tmp_path_factory.mktemp("jobs"),
        url_allowlist="127.0.0.1",
        max_upload_mb=3,
        max_json_audio_mb=2,
        sse_keepalive_s=0.1,
    ) as live:
        yield live


@pytest.fixture
def api(server: LiveServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


def test_an_uploaded_file_becomes_a_job_with_a_result_in_any_format(api: httpx.Client) -> None:
    submitted = upload(api, language="en", metadata='{"episode": 12}')
    assert submitted.keys() >= {"id", "object", "status", "progress", "position", "eta_s", "created_at", "error"}
    job = ended(api, submitted["id"])
    assert (job["status"], job["progress"], job["position"], job["eta_s"]) == ("succeeded", 1.0, None, 0.0)
    assert job["metadata"] == {"episode": 12}
    assert job["source"] == {"kind": "file", "name": DIGITS.name, "url": None, "size": DIGITS.stat().st_size}
    assert (job["error"], job["error_code"], job["language"]) == (None, None, "en")
    assert job["created_at"] <= job["started_at"] <= job["ended_at"] < job["expires_at"]
    path = f"/v1/jobs/{job['id']}/result"
    expected = api.post(
        "/v1/audio/transcriptions", files={"file": DIGITS.read_bytes()}, data={"language": "en"}
    ).json()["text"]
    assert api.get(path).json()["text"] == expected
    assert api.get(path, params={"format": "text"}).text.strip() == expected
    assert api.get(path, params={"response_format": "vtt"}).text.startswith("WEBVTT")
    assert api.get(path, params={"format": "srt"}).headers["content-type"].startswith("application/x-subrip")
    assert api.get(path, params={"format": "verbose_json"}).json()["segments"]
    refused(api.get(path, params={"format": "pdf"}), 400, "invalid_option", "response_format")
    words = {"timestamp_granularities": "word"}
    refused(api.get(path, params=words), 400, "unsupported_option", "timestamp_granularities")


def test_words_that_were_asked_for_come_with_the_result(api: httpx.Client) -> None:
    job = ended(api, upload(api, **{"timestamp_granularities[]": "word"})["id"])
    body = api.get(f"/v1/jobs/{job['id']}/result", params={"timestamp_granularities[]": "word"}).json()
    assert body["words"]
    assert "segments" not in body


def test_a_url_is_fetched_and_its_webhook_is_told(api: httpx.Client, host: AudioHost) -> None:
    webhook = {"url": f"{host.url}/hook?token=t", "headers": {"X-Own": "a"}, "secret": SECRET}
    asked = {"url": host.file(DIGITS) + "?signature=s", "webhook": webhook, "metadata": {"n": 1}, "beam_size": 1}
    host.messages.clear()
    host.fail_next = 1
    answer = api.post("/v1/jobs", json=asked)
    assert answer.status_code == 202, answer.text
    assert "signature" not in answer.text
    assert "token" not in answer.text
    job = ended(api, answer.json()["id"])
    assert job["status"] == "succeeded", job
    assert job["source"]["url"] == host.file(DIGITS)
    assert job["webhook"] == {"url": f"{host.url}/hook", "is_signed": True}
    wait_until(lambda: len(host.messages) == 2)
    headers, body = host.messages[-1]
    message = json.loads(body)
    assert (message["type"], message["data"]["id"], message["data"]["metadata"]) == (
        "job.succeeded",
        job["id"],
        {"n": 1},
    )
    assert headers["x-own"] == "a"
    assert headers["webhook-signature"].startswith("v1,")
    path = f"/v1/jobs/{job['id']}/deliveries"
    wait_until(lambda: api.get(path).json()["data"][0]["status"] == "delivered")
    [delivery] = api.get(path).json()["data"]
    assert (delivery["id"], delivery["attempts"], delivery["last_status"]) == (headers["webhook-id"], 2, 204)
    assert delivery["url"] == f"{host.url}/hook"
    anew = api.post(f"{path}/{delivery['id']}/redeliver")
    assert (anew.status_code, anew.json()["status"]) == (202, "pending")
    wait_until(lambda: len(host.messages) == 3)
    assert host.messages[-1][1] == body
    refused(api.post(f"{path}/{NOBODY}/redeliver"), 404, "not_found")


@pytest.mark.parametrize("form", ["base64", "data", "url", "form"])
def test_audio_in_json_and_data_urls_are_kept_as_files(api: httpx.Client, server: LiveServer, form: str) -> None:
    encoded = base64.b64encode(DIGITS.read_bytes()).decode()
    data_url = f"data:audio/wav;base64,{encoded}"
    field = {"base64": {"audio": encoded}, "data": {"audio": data_url}}.get(form, {"url": data_url})
    answer = api.post("/v1/jobs", files={}, data=field) if form == "form" else api.post("/v1/jobs", json=field)
    if form == "form":
        answer = api.post("/v1/jobs", files={name: (None, value) for name, value in field.items()})
    assert answer.status_code == 202, answer.text
    job = ended(api, answer.json()["id"])
    assert (job["status"], job["source"]["kind"], job["source"]["url"]) == ("succeeded", "file", None), job
    wait_until(lambda: server.uploads() == [])
    database = server.folder / "auricle.db"
    assert encoded[:200].encode() not in database.read_bytes() + database.with_name("auricle.db-wal").read_bytes()


def test_the_same_key_makes_one_job(api: httpx.Client) -> None:
    first = upload(api, headers={"idempotency-key": "one"})
    again = api.post("/v1/jobs", files={"file": DIGITS.read_bytes()}, headers={"idempotency-key": "one"})
    assert (again.json()["id"], again.headers["idempotent-replayed"]) == (first["id"], "true")
    other = api.post("/v1/jobs", files={"file": SILENCE.read_bytes()}, headers={"idempotency-key": "one"})
    refused(other, 409, "idempotency_conflict", "idempotency_key")
    both = api.post("/v1/jobs", files={"file": DIGITS.read_bytes()}, data={"idempotency_key": "one"})
    assert both.json()["id"] == first["id"]
    bad = api.post("/v1/jobs", files={"file": DIGITS.read_bytes()}, headers={"idempotency-key": "x" * 256})
    refused(bad, 400, "invalid_option", "idempotency_key")


HOSTILE = [
    "http://127.0.0.2/x.wav",
    "http://169.254.169.254/latest/meta-data",
    "http://2130706434/x.wav",
    "http://[::1]/x.wav",
    "http://user@10.1.2.3/x.wav",
    "file:///etc/passwd",
    "gopher://example.com/",
]


@pytest.mark.parametrize("url", HOSTILE)
def test_a_hostile_url_is_refused_at_once_where_its_text_shows_it(api: httpx.Client, url: str) -> None:
    refused(api.post("/v1/jobs", json={"url": url}), 400, "forbidden_url", "url")
    webhook = api.post("/v1/jobs", json={"url": "https://example.com/a.wav", "webhook": url})
    refused(webhook, 400, "forbidden_url", "webhook.url")


def test_a_url_that_leads_astray_fails_the_job(api: httpx.Client, host: AudioHost) -> None:
    job = ended(api, api.post("/v1/jobs", json={"url": host.astray}).json()["id"])
    assert (job["status"], job["error_code"], job["error"]["code"]) == ("failed", "forbidden_url", "forbidden_url")
    refused(api.get(f"/v1/jobs/{job['id']}/result"), 400, "forbidden_url")


def test_a_file_that_is_not_there_fails_the_job(api: httpx.Client, host: AudioHost) -> None:
    job = ended(api, api.post("/v1/jobs", json={"url": f"{host.url}/missing.wav"}).json()["id"])
    assert (job["status"], job["error_code"]) == ("failed", "url_refused")
    assert job["error"]["code"] == "url_refused"
    refused(api.get(f"/v1/jobs/{job['id']}/result"), 400, "url_refused")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "file"),
        ({"url": ""}, "url"),
        ({"url": 1}, "url"),
        ({"url": "https://example.com/a.wav", "audio": "AAAA"}, "audio"),
        ({"audio": "no base64!"}, "audio"),
        ({"url": "https://example.com/a.wav", "task": "summarise"}, "task"),
        ({"url": "https://example.com/a.wav", "stream": True}, "stream"),
        ({"url": "https://example.com/a.wav", "deadline_s": 3}, "deadline_s"),
        ({"url": "https://example.com/a.wav", "priority": "realtime"}, "priority"),
        ({"url": "https://example.com/a.wav", "priority": "soon"}, "priority"),
        ({"url": "https://example.com/a.wav", "metadata": []}, "metadata"),
        ({"url": "https://example.com/a.wav", "metadata": {"a": "x" * 20_000}}, "metadata"),
        ({"url": "https://example.com/a.wav", "metadata": json.loads('{"a":' * 9 + "1" + "}" * 9)}, "metadata"),
        ({"url": "https://example.com/a.wav", "webhook": {"url": "https://a.example", "x": 1}}, "webhook.x"),
        (
            {"url": "https://example.com/a.wav", "webhook": {"url": "https://a.example", "secret": "s"}},
            "webhook.secret",
        ),
        ({"url": "https://example.com/a.wav", "webhook": 3}, "webhook"),
        ({"url": "https://example.com/a.wav", "model": {}}, "model"),
    ],
)
def test_what_is_wrong_is_told_with_its_field(api: httpx.Client, body: dict[str, Any], param: str) -> None:
    answer = api.post("/v1/jobs", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


def test_a_number_beyond_json_is_refused(api: httpx.Client) -> None:
    for number in ("1e999", "NaN", "9" * 5000):
        body = f'{{"url": "https://example.com/a.wav", "metadata": {{"n": {number}}}}}'
        assert api.post("/v1/jobs", content=body, headers={"content-type": "application/json"}).status_code == 400


def test_a_file_that_is_no_audio_and_a_model_that_cannot_be_had_make_no_job(api: httpx.Client) -> None:
    before = api.get("/v1/jobs").json()["data"][:1]
    refused(api.post("/v1/jobs", files={"file": b"no audio at all"}), 415, "unsupported_audio")
    refused(api.post("/v1/jobs", files={"file": b""}), 400, "empty_audio", "file")
    refused(api.post("/v1/jobs", files={"file": bytes(4 << 20)}), 413, "audio_too_large", "file")
    refused(api.post("/v1/jobs", json={"audio": "A" * (4 << 20)}), 413, "audio_too_large", "audio")
    unknown = api.post("/v1/jobs", json={"url": "https://example.com/a.wav", "model": "enormous"})
    refused(unknown, 404, "model_not_found", "model")
    assert api.get("/v1/jobs").json()["data"][:1] == before


def test_a_batch_answers_for_each_job_in_order(api: httpx.Client, host: AudioHost) -> None:
    good = {"url": host.file(DIGITS), "idempotency_key": "batch-1", "language": "en"}
    items = [
        good,
        {"url": "http://10.0.0.1/a.wav"},
        {"url": host.file(SILENCE), "webhook": 1},
        7,
        {"audio": "AAAA"},
        {},
    ]
    answer = api.post("/v1/jobs/batch", json=items)
    assert answer.status_code == 200, answer.text
    first, *others = answer.json()["data"]
    assert (first["status"], first["error"]) == (202, None)
    assert [(one["status"], one["job"], one["error"]["code"]) for one in others] == [
        (400, None, "forbidden_url"),
        *[(400, None, "invalid_option")] * 4,
    ]
    assert api.post("/v1/jobs/batch", json=[good]).json()["data"][0]["job"]["id"] == first["job"]["id"]
    assert ended(api, first["job"]["id"])["status"] == "succeeded"
    for wrong in ([], {}, [good] * 1001):
        refused(api.post("/v1/jobs/batch", json=wrong), 400, "invalid_input")
    whole = [{"url": host.file(DIGITS)}, {"url": host.file(SILENCE)}]
    ids = [
        [
            one["job"]["id"]
            for one in api.post("/v1/jobs/batch", json=whole, headers={"idempotency-key": "b"}).json()["data"]
        ]
        for _ in range(2)
    ]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2


def test_jobs_are_listed_by_pages_and_by_what_they_are(api: httpx.Client) -> None:
    made = [upload(api, model="nano")["id"] for _ in range(3)]
    for job_id in made:
        ended(api, job_id)
    seen: list[str] = []
    page: dict[str, Any] = {"last_id": None, "has_more": True}
    while page["has_more"] and len(seen) < 3:
        after = {"after": page["last_id"]} if page["last_id"] else {}
        page = api.get("/v1/jobs", params={"limit": 2, "model": "nano", "status": "succeeded"} | after).json()
        assert page["object"] == "list"
        assert len(page["data"]) <= 2
        seen += [job["id"] for job in page["data"]]
    assert seen[:3] == made[::-1]
    assert api.get("/v1/jobs", params={"model": "other"}).json() == {
        "object": "list",
        "data": [],
        "has_more": False,
        "last_id": None,
    }
    for wrong in ({"limit": 0}, {"limit": 101}, {"status": "lost"}, {"after": "%00"}, {"model": "\0"}):
        assert api.get("/v1/jobs", params=wrong).status_code == 400, wrong


def test_a_job_is_followed_to_its_end(api: httpx.Client, host: AudioHost) -> None:
    host.released.clear()
    job_id = api.post("/v1/jobs", json={"url": host.slow_file(DIGITS)}).json()["id"]
    waiting = api.get(f"/v1/jobs/{job_id}/result")
    refused(waiting, 409, "job_not_finished")
    assert int(waiting.headers["retry-after"]) >= 1
    with api.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines: list[str] = []
        for line in answer.iter_lines():
            lines.append(line)
            if line == ": keep-alive":
                host.released.set()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert ": keep-alive" in lines
    assert lines[-2] == "data: [DONE]"
    assert events[-1]["status"] == "succeeded"
    assert {event["id"] for event in events} == {job_id}
    assert events[0]["status"] in {"queued", "running"}
    refused(api.get(f"/v1/jobs/{NOBODY}/events"), 404, "job_not_found")


def test_a_follower_who_leaves_is_let_go(api: httpx.Client, host: AudioHost, server: LiveServer) -> None:
    host.released.clear()
    job_id = api.post("/v1/jobs", json={"url": host.slow_file(SILENCE)}).json()["id"]
    line = 'auricle_http_requests_total{route="/v1/jobs/{job_id}/events",status="499"}'
    before = server.metric(line)
    with httpx.stream("GET", f"{server.url}/v1/jobs/{job_id}/events", timeout=60) as answer:
        next(answer.iter_lines())
    wait_until(lambda: server.metric(line) == before + 1)
    host.released.set()
    assert ended(api, job_id)["status"] == "succeeded", "the job does not mind"


def test_a_running_job_is_cancelled_and_an_ended_one_forgotten(api: httpx.Client) -> None:
    job_id = upload(api, MINUTE, **SLOW)["id"]
    wait_until(lambda: api.get(f"/v1/jobs/{job_id}").json()["status"] == "running")
    cancelled = api.delete(f"/v1/jobs/{job_id}")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    refused(api.get(f"/v1/jobs/{job_id}/result"), 409, "job_cancelled")
    assert api.delete(f"/v1/jobs/{job_id}").json() == {"id": job_id, "object": "job", "deleted": True}
    for path in ("", "/result", "/deliveries"):
        refused(api.get(f"/v1/jobs/{job_id}{path}"), 404, "job_not_found")
    refused(api.delete(f"/v1/jobs/{job_id}"), 404, "job_not_found")


@pytest.mark.parametrize("name", ["x", "%00", NOBODY, NOBODY.upper(), "a" * 5000])
def test_what_is_no_job_is_not_found(api: httpx.Client, name: str) -> None:
    refused(api.get(f"/v1/jobs/{name}"), 404, "job_not_found")


@pytest.mark.parametrize("route", ["transcriptions", "translations"])
def test_a_transcription_is_made_a_job_of_for_who_would_rather_not_wait(api: httpx.Client, route: str) -> None:
    answer = api.post(
        f"/v1/audio/{route}",
        files={"file": ("a.wav", DIGITS.read_bytes())},
        data={"language": "en", "timestamp_granularities[]": "word", "response_format": "verbose_json"},
        headers={"prefer": "wait=10, respond-async"},
    )
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")
    job = ended(api, answer.json()["id"])
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["task"] == ("transcribe" if route == "transcriptions" else "translate")
    if route == "transcriptions":
        assert api.get(f"{answer.headers['location']}/result?timestamp_granularities=word").json()["words"]


def test_the_official_client_gets_its_text_without_the_preference(server: LiveServer) -> None:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        assert "seven" in client.audio.transcriptions.create(model="whisper-1", file=DIGITS).text


def test_a_full_queue_is_told_with_the_time_to_wait(tmp_path: Path, host: AudioHost) -> None:
    with live_server(tmp_path, url_allowlist="127.0.0.1", max_queued_jobs=2, max_running_jobs=1) as live:
        host.released.clear()
        asked = [{"url": host.slow_file(DIGITS), "idempotency_key": str(n)} for n in range(5)]
        answers = [httpx.post(f"{live.url}/v1/jobs", json=one) for one in asked]
        assert {answer.status_code for answer in answers} == {202, 429}
        full = next(answer for answer in answers if answer.status_code == 429)
        refused(full, 429, "queue_full")
        assert int(full.headers["retry-after"]) > 0
        assert httpx.post(f"{live.url}/v1/jobs", json=asked[0]).status_code == 202, "it is there already"
        host.released.set()


NASTY = [None, True, -1, 10**400, 1e308, "", "\0", "\ud800", "9" * 5000, [], {}, [[]], [{}], {"url": []}, {"": {}}]


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/batch", "/"])
def test_no_value_of_json_makes_the_server_fail(api: httpx.Client, server: LiveServer, path: str) -> None:
    known = ["url", "audio", "task", "webhook", "metadata", "idempotency_key", "model", "language", "priority"]
    for field in [*known, "timestamp_granularities", "is_async", "managed_task_id", "keywords", "chunking_strategy"]:
        for value in NASTY:
            # A task that answers at once, on a file that is not there.
            one = {"url": "http://127.0.0.1:9/a.wav", "is_async": True, field: value}
            body = json.dumps([one] if path.endswith("batch") else one)
            answer = api.post(path, content=body, headers={"content-type": "application/json"})
            assert answer.status_code in {200, 202, 400, 404, 409}, (field, value, answer.text)
            statuses = [item["status"] for item in answer.json().get("data", [])]
            assert set(statuses) <= {202, 400, 404, 409}, (field, value, answer.text)
    for status in ("queued", "running"):
        while jobs := api.get("/v1/jobs", params={"status": status, "limit": 100}).json()["data"]:
            for job in jobs:
                api.delete(f"/v1/jobs/{job['id']}")
    wait_until(lambda: server.uploads() == [])
