"""The line and the headers that every request gets."""

import hashlib
import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from scripted_runtime import (
    AUDIO,
    HELLO,
    TRANSCRIPTIONS,
    ScriptedModels,
    ScriptedTranscriber,
    calling,
    scripted_app,
    transcript,
)

from auricle.errors import AudioTooLong, InvalidOption, ModelNotFound
from auricle.server.record import RequestRecord
from auricle.types import Timings

TIMINGS = Timings(decode=0.001, vad=0.002, features=0.003, queue=0.004, inference=0.25, total=0.5, audio=1.0)


async def line_of(caplog: pytest.LogCaptureFixture, folder: Path, steps: list, data: dict | None = None) -> dict:
    caplog.set_level(logging.DEBUG, "auricle")
    caplog.clear()
    async with calling(scripted_app(folder, ScriptedTranscriber(steps))) as client:
        await client.post(
            f"{TRANSCRIPTIONS}?api_key=secret", files=AUDIO, data=data or {}, headers={"x-request-id": "r"}
        )
    (line,) = [record.__dict__["fields"] for record in caplog.records if "fields" in record.__dict__]
    return line


async def test_a_line_says_what_was_asked_and_what_it_cost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    line = await line_of(caplog, tmp_path, [replace(transcript(HELLO), timings=TIMINGS)], {"model": "tiny"})
    assert line.pop("processing_time_ms") > 0
    assert line == {
        "request_id": "r",
        "client_ip": "127.0.0.1",
        "key": None,
        "method": "POST",
        "path": TRANSCRIPTIONS,
        "route": TRANSCRIPTIONS,
        "status": 200,
        "code": None,
        "error_message": None,
        "file_size_bytes": len(AUDIO["file"][1]),
        "audio_hash": hashlib.sha256(AUDIO["file"][1]).hexdigest(),
        "model": "tiny",
        "audio_seconds": 1.0,
        "rtfx": 2.0,
        "cache": None,
        "trace_id": None,
    }


async def test_a_line_says_what_went_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    line = await line_of(caplog, tmp_path, [AudioTooLong("the audio is 7 h long,\nthe limit is 6 h")])
    assert (line["status"], line["code"]) == (413, "audio_too_long")
    assert line["error_message"] == "the audio is 7 h long,\nthe limit is 6 h"
    console = caplog.records[-1].getMessage()
    assert "\n" not in console
    assert 'error_message="the audio is 7 h long,' in console


@pytest.mark.parametrize(
    "data",
    [
        {"prompt": "a secret " * 4000},
        {"prompt": "a \x07secret"},
        {"keywords[]": ["secret" * 100]},
        {"hotwords": "secret\x07"},
        {"known_speaker_names[]": ["secret"]},
    ],
)
async def test_errors_that_quote_private_fields_are_not_quoted_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, data: dict
) -> None:
    line = await line_of(caplog, tmp_path, [], data)
    assert line["status"] == 400
    assert "the log does not quote it" in line["error_message"]
    assert "secret" not in caplog.text
    assert "secret" not in json.dumps(line)


async def test_an_error_in_a_stream_that_has_begun_is_in_the_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = await line_of(caplog, tmp_path, [HELLO, AudioTooLong("too long")], {"stream": "true"})
    assert (line["status"], line["code"], line["error_message"]) == (200, "audio_too_long", "too long")


async def test_a_defect_is_named_but_not_quoted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    line = await line_of(caplog, tmp_path, [RuntimeError("what was said")])
    assert (line["status"], line["code"], line["error_message"]) == (500, "internal_error", "RuntimeError")


async def test_an_answer_says_how_long_each_stage_took(tmp_path: Path) -> None:
    transcriber = ScriptedTranscriber([replace(transcript(HELLO), timings=TIMINGS)])
    async with calling(scripted_app(tmp_path, transcriber)) as client:
        answer = await client.post(TRANSCRIPTIONS, files=AUDIO)
        health = await client.get("/health")
    assert answer.headers["server-timing"] == (
        "decode;dur=1.0, vad;dur=2.0, features;dur=3.0, queue;dur=4.0, inference;dur=250.0, diarization;dur=0.0, "
        "total;dur=500.0"
    )
    assert "server-timing" not in health.headers


async def test_questions_of_machines_are_logged_for_debugging_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "auricle.access")
    models = ScriptedModels(ModelNotFound("not to be had"))  # the answer of /health/ready is 503
    async with calling(scripted_app(tmp_path, models=models)) as client:
        for path in ("/health", "/health/ready", "/metrics", "/status", "/v1/models"):
            await client.get(path)
    lines = [record.__dict__["fields"] for record in caplog.records if record.name == "auricle.access"]
    assert [line["path"] for line in lines] == ["/v1/models"]


def test_a_transcript_out_of_the_cache_has_no_timings_of_its_own() -> None:
    found = replace(transcript(HELLO), timings=TIMINGS)
    hit, miss = RequestRecord(request_id="1", cache="hit"), RequestRecord(request_id="2", cache="miss")
    hit.finish(found)
    miss.finish(found)
    assert (hit.timings, hit.audio_s) == (None, 1.0)
    assert miss.timings == TIMINGS


def test_private_fields_are_known_by_any_spelling() -> None:
    for param in ("keywords", "keywords[]", "keywords.0", "initial_prompt"):
        record = RequestRecord(request_id="1")
        record.fail(InvalidOption.code, "Given: 'secret'", param)
        assert "secret" not in str(record.error_message)
