"""``/v1/voices`` of a real server with keys: a voice is stored once, and named from then on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_server import LiveServer, live_server
from openai import OpenAI

from conversation import MAN, WOMAN, write_conversation
from samples import load_sample

ANN, ADMIN = "key-of-ann-0123456789", "key-of-admin-0123456789"
SAMPLE = load_sample(WOMAN).path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("voices"), api_key=ANN, admin_key=ADMIN) as live:
        yield live


@pytest.fixture
def api(server: LiveServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60, headers={"authorization": f"Bearer {ANN}"}) as client:
        yield client


def store(api: httpx.Client, name: str, sample: Path = SAMPLE) -> httpx.Response:
    return api.post("/v1/voices", files={"file": sample.read_bytes()}, data={"name": name})


def test_a_stored_voice_is_named_without_its_sample(server: LiveServer, api: httpx.Client, tmp_path: Path) -> None:
    stored = store(api, " Ann Lee ")
    assert stored.status_code == 201, stored.text
    assert stored.json().keys() == {"object", "name", "created_at"}
    assert [voice["name"] for voice in api.get("/v1/voices").json()["data"]] == ["Ann Lee"]
    audio = tmp_path / "talk.wav"
    write_conversation(audio, [WOMAN, MAN, WOMAN, MAN])
    with OpenAI(base_url=f"{server.url}/v1", api_key=ANN, max_retries=0) as client:
        answer = client.audio.transcriptions.create(
            model="gpt-4o-transcribe-diarize",
            file=audio,
            response_format="diarized_json",
            known_speaker_names=["Ann Lee"],
        )
    assert {segment.speaker for segment in answer.segments} == {"Ann Lee", "A"}
    assert answer.segments[0].speaker == "Ann Lee"
    job = api.post("/v1/jobs", files={"file": audio.read_bytes()}, data={"known_speaker_names[]": "Ann Lee"})
    assert job.status_code == 202, job.text
    assert api.delete("/v1/voices/Ann Lee").json()["deleted"] is True
    assert api.get("/v1/voices").json()["data"] == []
    assert api.delete("/v1/voices/Ann Lee").status_code == 404
    assert server.uploads() == []


def test_voices_are_a_keys_own(api: httpx.Client) -> None:
    assert store(api, "Bob").status_code == 201
    other: dict[str, Any] = {"headers": {"authorization": f"Bearer {ADMIN}"}}
    assert api.get("/v1/voices", **other).json()["data"] == []
    assert api.delete("/v1/voices/Bob", **other).status_code == 404
    asked: dict[str, Any] = {"files": {"file": SAMPLE.read_bytes()}, "data": {"known_speaker_names[]": "Bob"}}
    refused = api.post("/v1/audio/transcriptions", **asked, **other)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "known_speaker_names"
    assert api.post("/v1/audio/transcriptions", **asked).status_code == 200
    assert httpx.get(f"{api.base_url}/v1/voices").status_code == 401


@pytest.mark.parametrize(
    ("name", "content", "param"),
    [
        ("", SAMPLE.read_bytes(), "name"),
        ("a\nb", SAMPLE.read_bytes(), "name"),
        ("x" * 65, SAMPLE.read_bytes(), "name"),
        ("Ann", b"no audio", "file"),
        ("Ann", load_sample("10_silence").path.read_bytes(), "file"),
        ("Ann", load_sample("08_en_60s").path.read_bytes(), "file"),
    ],
)
def test_a_voice_that_cannot_be_stored_is_refused(api: httpx.Client, name: str, content: bytes, param: str) -> None:
    answer = api.post("/v1/voices", files={"file": content}, data={"name": name})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    assert "Ann" not in [voice["name"] for voice in api.get("/v1/voices").json()["data"]]


@pytest.mark.parametrize("setting", [{"diarization": "off"}, {"zero_retention": True}])
def test_some_servers_store_no_voices(tmp_path: Path, setting: dict) -> None:
    with live_server(tmp_path, wait_for_ready=False, **setting) as live, httpx.Client(base_url=live.url) as client:
        answer = store(client, "Ann")
    assert answer.status_code == 400
    assert "AURICLE_" in answer.json()["error"]["message"]
