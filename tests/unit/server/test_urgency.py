"""Priority and deadline of a request, over HTTP, with scripted transcripts."""

import asyncio
import time
from pathlib import Path

import httpx
import psutil
import pytest
from scripted_runtime import AUDIO, TRANSCRIPTIONS, ScriptedTranscriber, calling, left_over, scripted_app

from auricle.types import Priority, RequestInfo

SAMPLES = Path(__file__).parents[2] / "audio" / "samples"


async def ask(
    folder: Path, *, data: dict | None = None, headers: dict | None = None, files: dict | None = None, **settings
) -> tuple[httpx.Response, RequestInfo | None]:
    transcriber = ScriptedTranscriber()
    async with calling(scripted_app(folder, transcriber, **settings)) as client:
        response = await client.post(TRANSCRIPTIONS, files=files or AUDIO, data=data or {}, headers=headers or {})
    assert left_over(folder) == []
    return response, transcriber.asked[0][2] if transcriber.asked else None


async def told(folder: Path, **how) -> RequestInfo:
    response, info = await ask(folder, **how)
    assert response.status_code == 200, response.text
    assert info is not None
    return info


async def refused(folder: Path, **how) -> dict:
    response, info = await ask(folder, **how)
    assert (response.status_code, info) == (400, None)
    return response.json()["error"]


async def test_a_request_is_interactive_and_has_no_deadline_unless_it_says_so(tmp_path: Path) -> None:
    info = await told(tmp_path)
    assert (info.priority, info.deadline) == (Priority.INTERACTIVE, None)


async def test_header_and_field_say_the_same(tmp_path: Path) -> None:
    assert (await told(tmp_path, headers={"X-Auricle-Priority": "batch"})).priority is Priority.BATCH
    assert (await told(tmp_path, data={"priority": "batch"})).priority is Priority.BATCH
    both = await told(tmp_path, headers={"X-Auricle-Priority": "batch"}, data={"priority": "batch"})
    assert both.priority is Priority.BATCH


async def test_header_and_field_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    error = await refused(tmp_path, headers={"X-Auricle-Priority": "batch"}, data={"priority": "interactive"})
    assert error["param"] == "priority"


async def test_realtime_is_for_servers_that_allow_it(tmp_path: Path) -> None:
    headers = {"X-Auricle-Priority": "realtime"}
    assert "AURICLE_ALLOW_REALTIME" in (await refused(tmp_path, headers=headers))["message"]
    assert (await told(tmp_path, headers=headers, allow_realtime=True)).priority is Priority.REALTIME


async def test_the_default_class_is_a_setting(tmp_path: Path) -> None:
    assert (await told(tmp_path, default_priority="batch")).priority is Priority.BATCH
    raised = await told(tmp_path, default_priority="batch", data={"priority": "interactive"})
    assert raised.priority is Priority.INTERACTIVE


@pytest.mark.parametrize(
    ("header", "value", "param"),
    [
        ("X-Auricle-Priority", "urgent", "priority"),
        ("X-Auricle-Priority", "0", "priority"),
        ("X-Auricle-Deadline", "soon", "deadline_s"),
        ("X-Auricle-Deadline", "0", "deadline_s"),
        ("X-Auricle-Deadline", "-1", "deadline_s"),
        ("X-Auricle-Deadline", "nan", "deadline_s"),
        ("X-Auricle-Deadline", "inf", "deadline_s"),
    ],
)
async def test_a_wrong_header_is_refused_by_name(tmp_path: Path, header: str, value: str, param: str) -> None:
    assert (await refused(tmp_path, headers={header: value}))["param"] == param


async def test_the_deadline_counts_from_the_arrival(tmp_path: Path) -> None:
    before = time.monotonic()
    info = await told(tmp_path, headers={"X-Auricle-Deadline": "500"})
    assert info.deadline is not None
    assert before + 500 <= info.deadline + 0.1
    assert info.deadline <= time.monotonic() + 500


async def test_work_that_is_not_done_by_the_deadline_is_given_up(tmp_path: Path) -> None:
    never = asyncio.Event()
    transcriber = ScriptedTranscriber([never])
    async with calling(scripted_app(tmp_path, transcriber)) as client:
        response = await client.post(TRANSCRIPTIONS, files=AUDIO, headers={"X-Auricle-Deadline": "0.5"})
    assert (response.status_code, response.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert transcriber.ended.is_set() or not transcriber.asked


async def test_the_servers_limit_grows_with_the_audio_and_the_shorter_one_counts(tmp_path: Path) -> None:
    minute = {"file": (SAMPLES / "08_en_60s.flac").read_bytes()}
    limits = {"request_timeout_s": 100, "request_timeout_per_audio_s": 10}
    now = time.monotonic()
    info = await told(tmp_path, files=minute, **limits)
    assert info.audio_s == 60.0
    assert info.deadline is not None
    assert now + 700 <= info.deadline <= time.monotonic() + 700
    sooner = await told(tmp_path, files=minute, headers={"X-Auricle-Deadline": "300"}, **limits)
    assert sooner.deadline is not None
    assert sooner.deadline <= time.monotonic() + 300


async def test_a_file_that_names_no_length_is_judged_by_its_size_and_never_over_the_limit(tmp_path: Path) -> None:
    unreadable = {"file": b"RIFF" + bytes(399_996)}
    assert (await told(tmp_path, files=unreadable)).audio_s == 100.0
    assert (await told(tmp_path, files=unreadable, max_audio_s=30)).audio_s == 30.0


async def test_a_machine_without_memory_refuses_before_the_body_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: real._replace(percent=97.0))
    response, info = await ask(tmp_path)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "memory_pressure")
    assert int(response.headers["retry-after"]) > 0
    assert info is None
    assert (await ask(tmp_path, max_memory_percent=0))[0].status_code == 200
