"""Who spoke, through the official ``openai`` client, jobs, a compatible API and the command line."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from audio_host import AudioHost, audio_host
from live_server import LiveServer, live_server, wait_until
from openai import OpenAI
from openai.types.audio import TranscriptionDiarized

from auricle.speaker_types import Turn
from conversation import MAN, STRANGER, WOMAN, data_url, write_conversation
from samples import load_sample

MODEL = "gpt-4o-transcribe-diarize"
TALK = [WOMAN, MAN, WOMAN, MAN, WOMAN, MAN]
NOT_SAMPLED = {"compression_ratio_threshold": 10, "logprob_threshold": -10}
"""The talk repeats itself, for which a text is sampled; two requests need not have the same samples."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("speakers"), url_allowlist="127.0.0.1") as live:
        yield live


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Turn]]:
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    return path, write_conversation(path, TALK)


@pytest.fixture(scope="module")
def host(talk: tuple[Path, list[Turn]]) -> Iterator[AudioHost]:
    with audio_host(talk[0].parent) as host:
        yield host


def diarize(client: OpenAI, audio: Path, **more: Any) -> TranscriptionDiarized:
    asked: dict[str, Any] = {"model": MODEL, "response_format": "diarized_json", "chunking_strategy": "auto"}
    return client.audio.transcriptions.create(file=audio, **(asked | more))


def speakers_of(segments: Any, turns: list[Turn]) -> list[set[str]]:
    """Who is said to speak in each of the turns, by the middle of the segments."""
    return [{one.speaker for one in segments if turn.start <= (one.start + one.end) / 2 <= turn.end} for turn in turns]


def test_two_speakers_are_told_apart(client: OpenAI, talk: tuple[Path, list[Turn]]) -> None:
    audio, turns = talk
    answer = diarize(client, audio, extra_body=NOT_SAMPLED)
    assert isinstance(answer, TranscriptionDiarized)
    assert answer.task == "transcribe"
    assert answer.duration == pytest.approx(turns[-1].end + 0.7, abs=0.1)
    assert "".join(segment.text for segment in answer.segments).strip() == answer.text
    assert {segment.type for segment in answer.segments} == {"transcript.text.segment"}
    assert all(isinstance(segment.id, str) for segment in answer.segments)
    edges = [time for segment in answer.segments for time in (segment.start, segment.end)]
    assert edges == sorted(edges)
    assert answer.usage is not None
    assert answer.usage.type == "duration"
    assert speakers_of(answer.segments, turns) == [{"A"}, {"B"}] * 3
    plain = client.audio.transcriptions.create(model="whisper-1", file=audio, extra_body=NOT_SAMPLED)
    assert answer.text == plain.text


def test_known_speakers_have_their_names_and_strangers_a_letter(client: OpenAI, tmp_path: Path) -> None:
    audio = tmp_path / "talk.wav"
    turns = write_conversation(audio, [WOMAN, STRANGER, MAN, WOMAN, STRANGER, MAN])
    names = {WOMAN: "Ann", MAN: "Bob", STRANGER: "A"}
    answer = diarize(
        client,
        audio,
        known_speaker_names=["Bob", "Ann"],
        known_speaker_references=[data_url(load_sample(name).path) for name in (MAN, WOMAN)],
        extra_body={"num_speakers": 3},
    )
    assert speakers_of(answer.segments, turns) == [{names[turn.speaker]} for turn in turns]


def test_a_stream_has_the_text_first_and_then_the_speakers(client: OpenAI, talk: tuple[Path, list[Turn]]) -> None:
    audio, turns = talk
    events = list(
        client.audio.transcriptions.create(model=MODEL, file=audio, response_format="diarized_json", stream=True)
    )
    segments = [event for event in events if event.type == "transcript.text.segment"]
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    done = events[-1]
    assert done.type == "transcript.text.done"
    assert "".join(deltas) == done.text == "".join(segment.text for segment in segments).strip()
    assert speakers_of(segments, turns) == [{"A"}, {"B"}] * 3
    assert [event.type for event in events[-len(segments) - 1 : -1]] == ["transcript.text.segment"] * len(segments)


def test_the_number_of_speakers_can_be_given(client: OpenAI, talk: tuple[Path, list[Turn]]) -> None:
    one = diarize(client, talk[0], extra_body={"num_speakers": 1})
    assert {segment.speaker for segment in one.segments} == {"A"}
    two = diarize(client, talk[0], extra_body={"min_speakers": 2, "max_speakers": 2})
    assert {segment.speaker for segment in two.segments} == {"A", "B"}


def test_other_formats_show_speakers_where_they_are_asked_for(client: OpenAI, talk: tuple[Path, list[Turn]]) -> None:
    def fetch(form: str, **more: Any) -> Any:
        asked: dict[str, Any] = {"model": "whisper-1", "file": talk[0], "response_format": form}
        return client.audio.transcriptions.create(**(asked | more))

    speakers = {"extra_body": {"diarize": True}}
    assert "<v A>" in fetch("vtt", **speakers)
    assert "\nB: " in fetch("srt", **speakers)
    assert "<v " not in fetch("vtt")
    text = fetch("text", extra_body=NOT_SAMPLED)
    assert fetch("text", extra_body={"diarize": True, **NOT_SAMPLED}) == text
    verbose = fetch("verbose_json", timestamp_granularities=["word", "segment"], **speakers)
    assert {segment.speaker for segment in verbose.segments} == {"A", "B"}
    assert {word.speaker for word in verbose.words} == {"A", "B"}
    plain = fetch("verbose_json")
    assert plain.words is None
    assert "speaker" not in plain.model_dump_json()
    without_words = fetch("verbose_json", **speakers)
    assert without_words.words is None


def test_a_kept_result_with_speakers_is_not_given_to_those_who_did_not_ask(
    server: LiveServer, talk: tuple[Path, list[Turn]]
) -> None:
    def outcome(**fields: str) -> tuple[str, dict]:
        answer = httpx.post(
            f"{server.url}/v1/audio/transcriptions",
            files={"file": talk[0].read_bytes()},
            data={"response_format": "verbose_json", "prompt": "kept", **fields},
            timeout=60,
        )
        return answer.headers["x-auricle-cache"], answer.json()

    assert outcome(diarize="true")[0] == "miss"
    kept, body = outcome(diarize="true")
    assert kept == "hit"
    assert {segment["speaker"] for segment in body["segments"]} == {"A", "B"}
    kept, body = outcome()
    assert kept == "miss"
    assert not any("speaker" in segment for segment in body["segments"])
    assert outcome(diarize="true", num_speakers="3")[0] == "miss"


def ended(api: httpx.Client, job_id: str) -> dict:
    wait_until(lambda: api.get(f"/v1/jobs/{job_id}").json()["status"] not in {"queued", "running"})
    return api.get(f"/v1/jobs/{job_id}").json()


def test_jobs_tell_speakers_apart(server: LiveServer, talk: tuple[Path, list[Turn]]) -> None:
    audio, turns = talk
    with httpx.Client(base_url=server.url, timeout=60) as api:
        body = {
            "audio": base64.b64encode(audio.read_bytes()).decode(),
            "diarize": True,
            "max_speakers": 3,
            "known_speaker_names": ["Ann"],
            "known_speaker_references": [data_url(load_sample(WOMAN).path)],
        }
        job = api.post("/v1/jobs", json=body).json()
        assert ended(api, job["id"])["status"] == "succeeded"
        found = api.get(f"/v1/jobs/{job['id']}/result", params={"format": "diarized_json"})
        segments = TranscriptionDiarized.model_validate_json(found.text).segments
        assert speakers_of(segments, turns) == [{"Ann"}, {"A"}] * 3
        assert "<v Ann>" in api.get(f"/v1/jobs/{job['id']}/result", params={"format": "vtt"}).text
        by_model = api.post("/v1/jobs", files={"file": audio.read_bytes()}, data={"model": MODEL}).json()
        plain = api.post("/v1/jobs", files={"file": audio.read_bytes()}).json()
        assert ended(api, by_model["id"])["status"] == ended(api, plain["id"])["status"] == "succeeded"
        assert "<v B>" in api.get(f"/v1/jobs/{by_model['id']}/result", params={"format": "vtt"}).text
        refused = api.get(f"/v1/jobs/{plain['id']}/result", params={"format": "diarized_json"})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "response_format")


def test_what_is_wrong_with_a_job_of_known_speakers_is_told_at_once(server: LiveServer) -> None:
    with httpx.Client(base_url=server.url, timeout=60) as api:
        body = {
            "url": "http://127.0.0.1:1/a.wav",
            "known_speaker_names": ["Ann"],
            "known_speaker_references": ["data:,"],
        }
        answer = api.post("/v1/jobs", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "known_speaker_references")
        batch = api.post("/v1/jobs/batch", json=[body, {"url": "http://127.0.0.1:1/a.wav", "num_speakers": 0}])
        assert [one["status"] for one in batch.json()["data"]] == [400, 400]
        assert [one["error"]["param"] for one in batch.json()["data"]] == ["known_speaker_references", "num_speakers"]


def test_tasks_tell_speakers_apart(server: LiveServer, host: AudioHost, talk: tuple[Path, list[Turn]]) -> None:
    audio, turns = talk
    answer = httpx.post(server.url, json={"url": host.file(audio), "diarise_audio": True}, timeout=60)
    output = answer.json()["output"]
    assert output.keys() == {"text", "chunks", "speakers"}
    assert all(part.keys() == {"speaker", "timestamp", "text"} for part in output["speakers"])
    assert [part["speaker"] for part in output["speakers"]] == ["SPEAKER_00", "SPEAKER_01"] * 3
    for part, turn in zip(output["speakers"], turns, strict=True):
        assert part["timestamp"] == pytest.approx([turn.start, turn.end], abs=0.8)
    assert "".join(part["text"] for part in output["speakers"]).strip() == output["text"].strip()


def test_the_asr_route_tells_speakers_apart(server: LiveServer, talk: tuple[Path, list[Turn]]) -> None:
    def asr(query: str) -> dict:
        files = {"audio_file": ("talk.wav", talk[0].read_bytes())}
        return httpx.post(f"{server.url}/asr?output=json&{query}", files=files, timeout=60).json()

    segments = asr("diarize=true&min_speakers=2&max_speakers=2")["segments"]
    assert {segment["speaker"] for segment in segments} == {"A", "B"}
    assert not any("speaker" in segment for segment in asr("max_speakers=2")["segments"])


def test_a_server_can_be_without_speakers(tmp_path: Path) -> None:
    with live_server(tmp_path, diarization="off", url_allowlist="127.0.0.1") as live:
        with OpenAI(base_url=f"{live.url}/v1", api_key="unused", max_retries=0) as client:
            with pytest.raises(openai.BadRequestError, match="AURICLE_DIARIZATION"):
                diarize(client, load_sample(WOMAN).path)
            assert client.audio.transcriptions.create(model=MODEL, file=load_sample(WOMAN).path).text
        answer = httpx.post(live.url, json={"url": "http://127.0.0.1:1/a.wav", "diarise_audio": True})
        assert answer.status_code == 400
        assert "Missing Hugging Face Token" in answer.json()["detail"]


def run(folder: Path, *arguments: str) -> str:
    own = {"AURICLE_MODEL": "nano", "AURICLE_ENGINE": "ct2", "AURICLE_DATA_DIR": str(folder), "AURICLE_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "auricle", "transcribe", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | own,
        timeout=120,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("remote", [False, True])
def test_the_command_line_tells_speakers_apart(
    server: LiveServer, tmp_path: Path, talk: tuple[Path, list[Turn]], *, remote: bool
) -> None:
    audio, turns = talk
    where = ["--server", server.url] if remote else []
    known = ["--known", f"Ann={load_sample(WOMAN).path}"]
    body = json.loads(run(tmp_path, str(audio), "--format", "diarized_json", "--speakers", "2", *known, *where))
    segments = TranscriptionDiarized.model_validate(body).segments
    assert speakers_of(segments, turns) == [{"Ann"}, {"A"}] * 3
