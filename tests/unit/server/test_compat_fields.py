"""What the routes of other servers ask of the pipeline, with scripted transcripts."""

import asyncio
import base64
import io
import json
import wave
from pathlib import Path
from typing import Any

import httpx
import pytest
from scripted_runtime import AUDIO, HELLO, ScriptedTranscriber, calling, left_over, scripted_app

from auricle.errors import CorruptAudio, EngineFailed
from auricle.types import Priority, TranscribeOptions, VadOptions

AUDIO_FILE = {"audio_file": AUDIO["file"]}
LONG_ENOUGH = base64.b64encode(b"RIFF" + bytes(2000)).decode()


async def ask(folder: Path, path: str, **how: Any) -> tuple[httpx.Response, ScriptedTranscriber]:
    transcriber = ScriptedTranscriber()
    async with calling(scripted_app(folder, transcriber, **how.pop("settings", {}))) as client:
        response = await client.post(path, **how)
    assert left_over(folder) == []
    return response, transcriber


async def told(folder: Path, path: str, **how: Any) -> tuple[TranscribeOptions, str | None]:
    response, transcriber = await ask(folder, path, **how)
    assert response.status_code == 200, response.text
    ((options, model, _),) = transcriber.asked
    return options, model


async def test_the_query_of_whisper_server_chooses(tmp_path: Path) -> None:
    query = "model=small&language=german&beam_size=2&temperature=0.4&vad_filter=false&words=true"
    options, model = await told(tmp_path, f"/transcribe?{query}", files=AUDIO)
    assert model == "small"
    assert (options.language, options.beam_size, options.temperatures) == ("de", 2, (0.4,))
    assert (options.vad, options.word_timestamps) == (False, True)
    plain, model = await told(tmp_path, "/transcribe", files=AUDIO)
    assert (model, plain.vad, plain.word_timestamps, plain.language) == (None, True, False, None)


@pytest.mark.parametrize(
    "query",
    [
        "beam_size=0",
        "beam_size=99999999999999999999999",
        "beam_size=two",
        "temperature=nan",
        "temperature=hot",
        "language=klingon",
        "vad_filter=perhaps",
        "stream=2",
        "model=%00",
        f"model={'m' * 300}",
        "language=%ED%A0%80",
    ],
)
async def test_a_query_that_makes_no_sense_is_a_bad_request(tmp_path: Path, query: str) -> None:
    response, transcriber = await ask(tmp_path, f"/transcribe?{query}", files=AUDIO)
    assert response.status_code == 400
    assert response.json().keys() == {"error"}
    assert query.partition("=")[0] in response.json()["error"]
    assert transcriber.asked == []


async def test_the_query_of_the_asr_webservice_chooses(tmp_path: Path) -> None:
    query = "task=translate&language=de&initial_prompt=Names&vad_filter=false&word_timestamps=true&output=json"
    options, _ = await told(tmp_path, f"/asr?{query}", files=AUDIO_FILE)
    assert (options.task, options.language, options.prompt) == ("translate", "de", "Names")
    assert (options.vad, options.word_timestamps) == (False, True)


@pytest.mark.parametrize("query", ["task=sing", "output=pdf", "language=xx", "encode=maybe", "word_timestamps=7"])
async def test_a_wrong_query_of_the_asr_webservice_is_refused(tmp_path: Path, query: str) -> None:
    response, _ = await ask(tmp_path, f"/asr?{query}", files=AUDIO_FILE)
    assert response.status_code == 400
    assert query.partition("=")[0] in response.json()["detail"]


@pytest.mark.parametrize("path", ["/asr", "/detect-language"])
async def test_samples_without_a_header_get_one(tmp_path: Path, path: str) -> None:
    # An odd number of bytes, and a start that looks like a bare stream of mp3.
    samples = b"\xff\xfb" * 1600 + b"\0"
    _, transcriber = await ask(tmp_path, f"{path}?encode=false", files={"audio_file": samples})
    with wave.open(io.BytesIO(transcriber.audio[0])) as sent:
        assert (sent.getnchannels(), sent.getsampwidth(), sent.getframerate()) == (1, 2, 16_000)
        assert sent.readframes(2000) == samples[:-1]


async def test_what_has_a_header_stays_as_it_is(tmp_path: Path) -> None:
    _, transcriber = await ask(tmp_path, "/asr?encode=false", files=AUDIO_FILE)
    assert transcriber.audio == [AUDIO["file"][1] if isinstance(AUDIO["file"], tuple) else AUDIO["file"]]


async def test_the_name_of_the_answer_is_that_of_the_file_made_safe(tmp_path: Path) -> None:
    files = {"audio_file": ('a"b/ü.mp3', b"RIFF")}
    response, _ = await ask(tmp_path, "/asr?output=srt", files=files)
    assert response.headers["content-disposition"].startswith('attachment; filename="')
    assert response.headers["content-disposition"].endswith('.mp3.srt"')
    assert response.headers["content-disposition"].count('"') == 2
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


async def test_the_form_of_whisper_cpp_chooses(tmp_path: Path) -> None:
    form = {
        "temperature": "0.2",
        "temperature_inc": "0.4",
        "language": "auto",
        "translate": "true",
        "prompt": "Names",
        "beam_size": "-1",
        "no_speech_thold": "0.7",
        "logprob_thold": "-2",
        "vad": "1",
        "vad_threshold": "0.3",
        "vad_min_silence_duration_ms": "250",
        "entropy_thold": "2.4",
        "offset_t": "0",
    }
    options, _ = await told(tmp_path, "/inference", files=AUDIO, data=form)
    assert (options.task, options.language, options.prompt, options.beam_size) == ("translate", None, "Names", 5)
    assert options.temperatures == (0.2, 0.6, 1.0)
    assert (options.no_speech_threshold, options.logprob_threshold) == (0.7, -2.0)
    assert (options.vad, options.word_timestamps) == (True, False)
    assert options.vad_options == VadOptions(threshold=0.3, min_silence_duration_ms=250)


@pytest.mark.parametrize(
    ("form", "temperatures"),
    [
        ({}, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ({"temperature_inc": "0"}, (0.0,)),
        ({"temperature": "0.5", "temperature_inc": "0.25"}, (0.5, 0.75, 1.0)),
        ({"temperature": "0.9"}, (0.9,)),
    ],
)
async def test_temperatures_climb_as_whisper_cpp_does(
    tmp_path: Path, form: dict[str, str], temperatures: tuple[float, ...]
) -> None:
    options, _ = await told(tmp_path, "/inference", files=AUDIO, data=form)
    assert options.temperatures == temperatures


@pytest.mark.parametrize(
    "form",
    [
        {"temperature_inc": "1e-9"},
        {"temperature_inc": "nan"},
        {"temperature_inc": "-1"},
        {"temperature_inc": "2"},
        {"temperature": "7"},
        {"offset_t": "1000"},
        {"duration": "5"},
        {"response_format": "xml"},
        {"vad": "1", "vad_threshold": "inf"},
        {"beam_size": "1e99"},
    ],
)
async def test_a_wrong_form_of_whisper_cpp_is_refused(tmp_path: Path, form: dict[str, str]) -> None:
    response, transcriber = await ask(tmp_path, "/inference", files=AUDIO, data=form)
    assert response.status_code == 400
    assert response.json().keys() == {"error"}
    assert transcriber.asked == []


async def test_words_are_found_for_verbose_json_of_whisper_cpp_only(tmp_path: Path) -> None:
    verbose = {"response_format": "verbose_json"}
    assert (await told(tmp_path, "/inference", files=AUDIO, data=verbose))[0].word_timestamps
    no_times = verbose | {"no_timestamps": "true"}
    assert not (await told(tmp_path, "/inference", files=AUDIO, data=no_times))[0].word_timestamps


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        ("whisper-tiny", "tiny"),
        ("whisper-large", "large"),
        ("whisper-1", "whisper-1"),
        ("nano", "nano"),
        ("", "whisper-1"),
    ],
)
async def test_names_of_models_with_whisper_before_them_are_ours(tmp_path: Path, asked: str, used: str) -> None:
    body = {"model": asked, "audio": LONG_ENOUGH}
    _, model = await told(tmp_path, "/v1/audio/transcriptions", json=body)
    assert model == used


async def test_an_alias_of_the_settings_wins(tmp_path: Path) -> None:
    settings = {"model_aliases": {"whisper-tiny": "org/mine"}}
    body = {"model": "whisper-tiny", "audio": LONG_ENOUGH}
    _, model = await told(tmp_path, "/v1/chat/completions", json=body, settings=settings)
    assert model == "whisper-tiny"


@pytest.mark.parametrize(
    "path", ["/transcribe", "/v1/transcribe", "/inference", "/asr", "/v1/audio/transcriptions", "/v1/chat/completions"]
)
async def test_headers_about_urgency_and_cache_count_everywhere(tmp_path: Path, path: str) -> None:
    sent: dict[str, Any] = (
        {"json": {"audio": LONG_ENOUGH}} if "/v1/audio" in path or "chat" in path else {"files": AUDIO}
    )
    if path == "/asr":
        sent = {"files": AUDIO_FILE}
    headers = {"X-Auricle-Priority": "batch", "X-Auricle-Deadline": "60"}
    response, transcriber = await ask(tmp_path, path, headers=headers, **sent)
    assert response.status_code == 200, response.text
    ((_, _, info),) = transcriber.asked
    assert info.priority is Priority.BATCH
    assert info.deadline is not None


async def test_audio_in_json_has_its_own_limit(tmp_path: Path) -> None:
    for size, text in (
        (20_000, "Audio file too large. Maximum size is 0.01MB"),
        (5_000_000, "Audio file too large. Maximum size is 0.01MB"),
        (1000, "Audio file too small. Minimum size is 1KB"),
    ):
        body = {"audio": base64.b64encode(bytes(size)).decode()}
        response, transcriber = await ask(
            tmp_path, "/v1/audio/transcriptions", json=body, settings={"max_json_audio_mb": 0.01}
        )
        assert (response.status_code, response.json()["detail"]) == (400, text)
        assert response.json()["error"]["message"] == text
        assert transcriber.asked == []


async def test_an_error_after_the_first_line_is_the_last_line(tmp_path: Path) -> None:
    transcriber = ScriptedTranscriber([HELLO, EngineFailed("died twice")])
    async with calling(scripted_app(tmp_path, transcriber)) as client:
        response = await client.post("/transcribe?stream=true", files=AUDIO)
        metrics = (await client.get("/metrics")).text
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert response.status_code == 200
    assert lines == [
        {"segment": {"id": 0, "start": 0, "end": 1, "text": "Hello there."}},
        {"error": "died twice"},
    ]
    assert 'auricle_requests_total{status="engine_failed"} 1.0' in metrics
    assert left_over(tmp_path) == []


async def test_a_line_that_takes_its_time_is_waited_for(tmp_path: Path) -> None:
    gate = asyncio.Event()
    transcriber = ScriptedTranscriber([gate, CorruptAudio("breaks off")])
    async with calling(scripted_app(tmp_path, transcriber, sse_keepalive_s=0.01)) as client:
        asking = asyncio.create_task(client.post("/transcribe?stream=true", files=AUDIO))
        await transcriber.started.wait()
        await asyncio.sleep(0.05)
        gate.set()
        response = await asking
    # No sign of life was sent meanwhile, which would have settled the status.
    assert (response.status_code, response.json()) == (400, {"error": "breaks off"})


async def test_speech_is_listened_to_only_as_long_as_its_language_takes(tmp_path: Path) -> None:
    never = asyncio.Event()
    transcriber = ScriptedTranscriber([HELLO, never])
    async with calling(scripted_app(tmp_path, transcriber)) as client:
        response = await asyncio.wait_for(client.post("/detect-language", files=AUDIO_FILE), 10)
    assert response.status_code == 200
    assert transcriber.ended.is_set()
