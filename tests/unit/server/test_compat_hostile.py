"""Values that no client would send to the routes of other servers."""

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from scripted_runtime import AUDIO, calling, left_over, scripted_app

AUDIO_FILE = {"audio_file": AUDIO["file"]}
LONG_ENOUGH = base64.b64encode(b"RIFF" + bytes(2000)).decode()
NASTY = ["", "-1", "1e999", "nan", "9" * 5000, "\0", "\ud800", "true", "[]"]
FIELDS = ["model", "language", "prompt", "temperature", "temperature_inc", "beam_size", "stream", "words", "vad"]
FIELDS += [
    "vad_filter",
    "output",
    "task",
    "encode",
    "translate",
    "duration",
    "response_format",
    "vad_threshold",
    "file",
]


@pytest.mark.parametrize("path", ["/transcribe", "/v1/transcribe", "/asr", "/detect-language", "/inference"])
async def test_no_field_of_form_or_query_makes_the_server_fail(tmp_path: Path, path: str) -> None:
    files = AUDIO_FILE if path in {"/asr", "/detect-language"} else AUDIO
    async with calling(scripted_app(tmp_path)) as client:
        for field in FIELDS:
            for value in NASTY:
                raw = quote(value, errors="surrogatepass")
                in_query = await client.post(f"{path}?{field}={raw}", files=files)
                in_form = await client.post(path, files=files, data={field: value.encode("utf-8", "surrogatepass")})
                assert {in_query.status_code, in_form.status_code} <= {200, 400}, (field, value)
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/chat/completions", "/debug/audio-info"])
@pytest.mark.parametrize("field", ["audio", "audio_options", "messages", "model", "language", "prompt", "stream"])
async def test_no_value_of_json_makes_the_server_fail(tmp_path: Path, path: str, field: str) -> None:
    values = [None, True, -1, 10**400, 1e308, *NASTY, [], {}, [[]], [{}], [None], {"data": []}, [{"content": [[{}]]}]]
    async with calling(scripted_app(tmp_path)) as client:
        for value in values:
            headers = {"content-type": "application/json"}
            body = json.dumps({"audio": LONG_ENOUGH} | {field: value})
            response = await client.post(path, content=body, headers=headers)
            assert response.status_code in {200, 400}, value
            response.content.decode()
    assert left_over(tmp_path) == []
