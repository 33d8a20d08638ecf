"""What every request meets, over a real socket, with scripted transcripts."""

import asyncio
import json
import logging
from pathlib import Path

import pytest
from scripted_runtime import (
    AUDIO,
    HELLO,
    TRANSCRIPTIONS,
    ScriptedModels,
    ScriptedTranscriber,
    calling,
    left_over,
    scripted_app,
    serving,
    transcript,
)

from auricle.errors import EngineFailed, ModelNotFound


async def post(folder: Path, transcriber: ScriptedTranscriber, data: dict | None = None, **settings):
    async with calling(scripted_app(folder, transcriber, **settings)) as client:
        return await client.post(TRANSCRIPTIONS, files=AUDIO, data=data or {})


async def test_the_transcriber_gets_the_audio_the_model_and_who_asks(tmp_path: Path) -> None:
    transcriber = ScriptedTranscriber()
    async with calling(scripted_app(tmp_path, transcriber)) as client:
        response = await client.post(
            TRANSCRIPTIONS, files=AUDIO, data={"model": "tiny"}, headers={"x-request-id": "r-1"}
        )
    assert response.json()["text"] == "Hello there. Good bye."
    ((options, model, request),) = transcriber.asked
    assert transcriber.audio == [b"RIFF-not-really"]
    assert (options.task, model) == ("transcribe", "tiny")
    assert (request.request_id, request.caller, request.deadline) == ("r-1", "127.0.0.1", None)
    assert left_over(tmp_path) == []


async def test_translations_ask_for_the_other_task(tmp_path: Path) -> None:
    transcriber = ScriptedTranscriber([transcript(HELLO, task="translate")])
    async with calling(scripted_app(tmp_path, transcriber)) as client:
        form = {"response_format": "verbose_json"}
        response = await client.post("/v1/audio/translations", files=AUDIO, data=form)
    assert transcriber.asked[0][0].task == "translate"
    assert response.json()["language"] == "english"


async def test_warnings_come_in_a_header(tmp_path: Path) -> None:
    transcriber = ScriptedTranscriber([transcript(warnings=("ignored\nlangüage",))])
    response = await post(tmp_path, transcriber, {"user": "me"})
    warnings = json.loads(response.headers["x-auricle-warnings"])
    assert warnings == ["field 'user' is not known and was ignored", "ignored\nlangüage"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", TRANSCRIPTIONS, 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/models/no/such%00model", 404, "model_not_found"),
    ],
)
async def test_routes_that_are_not_there_answer_in_the_envelope(
    tmp_path: Path, method: str, path: str, status: int, code: str
) -> None:
    async with calling(scripted_app(tmp_path)) as client:
        response = await client.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert response.headers["x-request-id"].startswith("req_")
    assert ("allow" in response.headers) == (status == 405)


async def test_a_defect_is_logged_with_the_request_and_told_to_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    response = await post(tmp_path, ScriptedTranscriber([RuntimeError("the secret")]))
    assert response.status_code == 500
    assert "secret" not in response.text
    assert response.json()["error"]["type"] == "server_error"
    failed = next(record for record in caplog.records if record.exc_info)
    assert response.headers["x-request-id"] in failed.getMessage()
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("given", ["my-id_1.2:3", "x" * 128])
async def test_a_sane_request_id_is_kept(tmp_path: Path, given: str) -> None:
    async with calling(scripted_app(tmp_path)) as client:
        response = await client.get("/health", headers={"x-request-id": given})
    assert response.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", 'a"b', "a=b status=200"])
async def test_any_other_request_id_is_replaced(tmp_path: Path, given: str) -> None:
    async with calling(scripted_app(tmp_path)) as client:
        response = await client.get("/health", headers={"x-request-id": given})
    assert response.headers["x-request-id"].startswith("req_")


async def test_a_request_gives_one_log_line_without_its_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "auricle.access")
    response = await post(tmp_path, ScriptedTranscriber(), {"prompt": "a secret prompt"})
    (line,) = [record for record in caplog.records if record.name == "auricle.access"]
    assert f"request_id={response.headers['x-request-id']}" in line.getMessage()
    assert "status=200" in line.getMessage()
    assert "audio_seconds=2.0" in line.getMessage()
    assert "secret" not in caplog.text
    assert "Hello" not in caplog.text


async def test_a_path_cannot_forge_a_log_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "auricle.access")
    async with calling(scripted_app(tmp_path)) as client:
        await client.get("/v1/x%0Arequest_id=forged status=200")
    (line,) = [record for record in caplog.records if record.name == "auricle.access"]
    assert "\n" not in line.getMessage()
    assert "%0Arequest_id=forged%20status" in line.getMessage()


async def test_a_client_that_leaves_ends_the_work_and_leaves_no_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "auricle.access")
    transcriber = ScriptedTranscriber([asyncio.Event()])
    async with serving(scripted_app(tmp_path, transcriber)) as (client, _):
        asking = asyncio.create_task(client.post(TRANSCRIPTIONS, files=AUDIO))
        await transcriber.started.wait()
        assert len(left_over(tmp_path)) == 1
        asking.cancel()
        await asyncio.wait_for(transcriber.ended.wait(), 10)
    assert left_over(tmp_path) == []
    assert "status=499" in caplog.text


async def test_a_client_that_leaves_while_it_uploads_leaves_no_file(tmp_path: Path) -> None:
    transcriber = ScriptedTranscriber()
    app = scripted_app(tmp_path, transcriber)
    async with serving(app) as (client, _):
        _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        head = f"POST {TRANSCRIPTIONS} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n"
        body = '--X\r\nContent-Disposition: form-data; name="file"\r\n\r\nRIFF'
        writer.write(f"{head}Content-Type: multipart/form-data; boundary=X\r\n\r\n{body}".encode())
        await writer.drain()
        while not left_over(tmp_path):  # noqa: ASYNC110  the file is all that shows from outside
            await asyncio.sleep(0.005)
        assert app.state.context.admitted == 1
        writer.close()
        await writer.wait_closed()
        while left_over(tmp_path):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert app.state.context.admitted == 0
    assert transcriber.asked == []


async def test_more_requests_than_allowed_are_turned_away_before_they_upload(tmp_path: Path) -> None:
    gate = asyncio.Event()
    transcriber = ScriptedTranscriber([gate, transcript(HELLO)])
    async with serving(scripted_app(tmp_path, transcriber, max_requests=1)) as (client, _):
        first = asyncio.create_task(client.post(TRANSCRIPTIONS, files=AUDIO))
        await transcriber.started.wait()
        second = await client.post(TRANSCRIPTIONS, files=AUDIO)
        gate.set()
        assert (await first).status_code == 200
        assert second.status_code == 429
        assert second.json()["error"]["code"] == "queue_full"
        assert int(second.headers["retry-after"]) > 0
        assert (await client.post(TRANSCRIPTIONS, files=AUDIO)).status_code == 200


@pytest.mark.parametrize("stream", ["true", "false"])
async def test_a_request_that_takes_too_long_is_given_up(tmp_path: Path, stream: str) -> None:
    transcriber = ScriptedTranscriber([asyncio.Event()])
    response = await post(tmp_path, transcriber, {"stream": stream}, request_timeout_s=0.05)
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "deadline_exceeded"
    assert response.headers["x-should-retry"] == "false"
    assert transcriber.asked[0][2].deadline is not None
    assert transcriber.ended.is_set()


async def test_the_server_is_live_before_its_model_and_says_why_it_is_not_ready(tmp_path: Path) -> None:
    app = scripted_app(tmp_path, models=ScriptedModels(ModelNotFound("cannot reach the hub")))
    async with calling(app) as client:
        health = await client.get("/health")
        ready = await client.get("/health/ready")
        live = await client.get("/health/live")
    assert (health.status_code, health.json()["ready"]) == (200, False)
    assert health.json()["error"] == "cannot reach the hub"
    assert ready.status_code == 503
    assert "retry-after" in ready.headers
    assert live.status_code == 200


async def test_ready_follows_the_default_model(tmp_path: Path) -> None:
    async with calling(scripted_app(tmp_path)) as client:
        await asyncio.sleep(0)
        assert (await client.get("/health/ready")).status_code == 200
        assert (await client.get("/health")).json()["ready"] is True


async def test_metrics_are_prometheus_text(tmp_path: Path) -> None:
    async with calling(scripted_app(tmp_path)) as client:
        response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "# TYPE auricle_queue_rows gauge" in response.text


async def test_the_end_of_the_server_lets_running_requests_finish(tmp_path: Path) -> None:
    gate = asyncio.Event()
    transcriber = ScriptedTranscriber([gate, transcript(HELLO)])
    async with serving(scripted_app(tmp_path, transcriber)) as (client, server):
        asking = asyncio.create_task(client.post(TRANSCRIPTIONS, files=AUDIO))
        await transcriber.started.wait()
        server.should_exit = True
        await asyncio.sleep(0.3)
        gate.set()
        assert (await asking).json()["text"] == "Hello there."


async def test_requests_that_do_not_finish_in_time_are_told_that_the_server_ends(tmp_path: Path) -> None:
    transcriber = ScriptedTranscriber([asyncio.Event()])
    async with serving(scripted_app(tmp_path, transcriber), shutdown_s=0) as (client, server):
        asking = asyncio.create_task(client.post(TRANSCRIPTIONS, files=AUDIO))
        await transcriber.started.wait()
        server.should_exit = True
        response = await asking
    assert response.status_code == 503
    assert "retry-after" in response.headers
    assert transcriber.ended.is_set()
    assert left_over(tmp_path) == []


async def test_an_engine_that_fails_is_a_server_error_with_its_own_code(tmp_path: Path) -> None:
    response = await post(tmp_path, ScriptedTranscriber([EngineFailed("the engine died twice")]))
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "engine_failed"
