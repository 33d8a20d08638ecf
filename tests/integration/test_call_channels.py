"""Calls with a channel for each side, through the official ``openai`` client, jobs and the command line."""

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
from live_server import LiveServer, live_server, wait_until
from openai import OpenAI

from auricle.speaker_types import Turn
from conversation import write_call
from samples import load_sample
from scoring import word_error_rate

SEPARATE = {"channels": "separate"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    # Channels are told apart without a diarizer.
    with live_server(tmp_path_factory.mktemp("channels"), diarization="off") as live:
        yield live


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Turn]]:
    path = tmp_path_factory.mktemp("call") / "call.wav"
    return path, write_call(path)


def transcribe(client: OpenAI, audio: Path, **more: Any) -> Any:
    asked: dict[str, Any] = {"model": "whisper-1", "response_format": "diarized_json", "extra_body": SEPARATE}
    return client.audio.transcriptions.create(file=audio, **(asked | more))


def test_words_belong_to_the_side_that_said_them(client: OpenAI, call: tuple[Path, list[Turn]]) -> None:
    audio, turns = call
    answer = transcribe(client, audio, response_format="verbose_json", timestamp_granularities=["word"])
    right = 0
    for word in answer.words:
        middle = (word.start + word.end) / 2
        right += word.speaker in {turn.speaker for turn in turns if turn.start - 0.2 <= middle <= turn.end + 0.2}
    assert len(answer.words) >= 20
    assert right >= 0.98 * len(answer.words)
    assert answer.duration == pytest.approx(turns[-1].end + 1.0, abs=0.5)


def test_both_sides_are_merged_in_order_of_time_and_nothing_is_said_twice(
    client: OpenAI, call: tuple[Path, list[Turn]]
) -> None:
    audio, turns = call
    answer = transcribe(client, audio)
    starts = [segment.start for segment in answer.segments]
    assert starts == sorted(starts)
    assert {segment.speaker for segment in answer.segments} == {"A", "B"}
    said = {name: " ".join(one.text for one in answer.segments if one.speaker == name) for name in "AB"}
    references = {"A": ("01_en_slt", "07_en_human_digits"), "B": ("02_en_rms", "01_en_slt")}
    for name, files in references.items():
        assert word_error_rate([(" ".join(load_sample(file).text for file in files), said[name])]) <= 0.2
    assert len(answer.segments) >= len(turns)


def test_a_file_of_one_channel_is_all_by_one_speaker(client: OpenAI) -> None:
    answer = transcribe(client, load_sample("01_en_slt").path)
    assert {segment.speaker for segment in answer.segments} == {"A"}
    told = transcribe(client, load_sample("01_en_slt").path, response_format="verbose_json")
    assert "one channel" in told.x_auricle["warnings"][0]


@pytest.mark.parametrize(
    "more",
    [
        {"channels": "left"},
        {"channels": "separate", "diarize": "true"},
        {"channels": "separate", "num_speakers": "2"},
        {"channels": "separate", "vad": "false"},
        {"channels": "separate", "condition_on_previous_text": "true"},
    ],
)
def test_what_contradicts_separate_channels_is_refused(
    client: OpenAI, call: tuple[Path, list[Turn]], more: dict[str, str]
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        transcribe(client, call[0], response_format="json", extra_body=more)
    assert refused.value.param == "channels"


def test_a_job_and_the_command_line_take_channels_apart_too(
    server: LiveServer, client: OpenAI, call: tuple[Path, list[Turn]], tmp_path: Path
) -> None:
    audio, _ = call
    expected = [(segment.speaker, segment.text) for segment in transcribe(client, audio).segments]
    with audio.open("rb") as file:
        accepted = httpx.post(f"{server.url}/v1/jobs", files={"file": file}, data=SEPARATE).json()
    url = f"{server.url}/v1/jobs/{accepted['id']}"
    wait_until(lambda: httpx.get(url).json()["status"] == "succeeded", timeout_s=120)
    done = httpx.get(f"{url}/result", params={"response_format": "diarized_json"}).json()
    assert [(segment["speaker"], segment["text"]) for segment in done["segments"]] == expected
    command = [sys.executable, "-m", "auricle", "transcribe", str(audio), "--channels", "separate"]
    environment = os.environ | {
        "AURICLE_DATA_DIR": str(tmp_path),
        "AURICLE_DIARIZATION": "off",
        "AURICLE_MODEL": "nano",
    }
    for where in ([], ["--server", server.url]):
        ran = subprocess.run(
            [*command, "--format", "diarized_json", *where], env=environment, capture_output=True, text=True, check=True
        )
        found = json.loads(ran.stdout)["segments"]
        assert [(segment["speaker"], segment["text"]) for segment in found] == expected
