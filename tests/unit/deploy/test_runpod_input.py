from pathlib import Path
from typing import Any

import pytest

from auricle.config import Settings
from auricle.errors import InvalidOption
from auricle.types import TranscribeOptions
from job_input import Fields, parse_input
from queue_worker import recommended_batch, worker_settings

URL = "https://example.org/talk.mp3"
GIB = 1 << 30


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(model="nano", data_dir=tmp_path)


def refusal(data: object) -> str:
    with pytest.raises(InvalidOption) as caught:
        parse_input(data)
    return caught.value.message


@pytest.mark.parametrize("data", [None, {}, [], "text", 7])
def test_a_job_without_input_is_refused_in_the_known_words(data: object) -> None:
    assert refusal(data) == "Input data is empty"


@pytest.mark.parametrize("data", [{"language": "de"}, {"audio_url": None}])
def test_a_job_without_audio_is_refused_in_the_known_words(data: object) -> None:
    assert refusal(data) == "Missing required field: audio_url"


@pytest.mark.parametrize("value", [7, [URL], {"url": URL}, True])
def test_an_address_that_is_no_text_is_refused_in_the_known_words(value: object) -> None:
    assert refusal({"audio_url": value}) == "audio_url must be a string"


def test_two_sources_of_audio_are_refused() -> None:
    assert "send one of them" in refusal({"audio_url": URL, "audio": URL})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("beam_size", 0),
        ("beam_size", "many"),
        ("temperature", 1.5),
        ("temperature", float("nan")),
        ("temperature_increment_on_fallback", 0),
        ("transcription", "docx"),
        ("translate", "perhaps"),
        ("suppress_tokens", "1,x"),
        ("initial_prompt", "a" * 20_000),
        ("language", "klingon"),
        ("model", ""),
    ],
)
def test_a_wrong_value_is_refused_and_named(field: str, value: object) -> None:
    with pytest.raises(InvalidOption) as caught:
        parse_input({"audio_url": URL, field: value})
    assert caught.value.param == field
    assert len(caught.value.message) < 400


def test_an_address_alone_asks_for_the_text_alone(settings: Settings) -> None:
    asked = parse_input({"audio_url": f" {URL} "})
    assert asked.url == URL
    assert asked.is_plain
    assert asked.tasks == ("transcribe",)
    assert asked.options("transcribe", settings) == TranscribeOptions()


def test_base64_is_a_data_url_whatever_its_lines() -> None:
    assert parse_input({"audio_base64": "AA\nBB"}).url == "data:application/octet-stream;base64,AABB"
    assert parse_input({"audio_base64": "data:audio/flac;base64,AABB"}).url == "data:audio/flac;base64,AABB"


def test_every_field_of_the_public_worker_is_known() -> None:
    # https://github.com/runpod-workers/worker-faster_whisper
    names = {"model", "transcription", "translate", "translation", "language", "temperature", "best_of", "beam_size"}
    names |= {"patience", "length_penalty", "suppress_tokens", "initial_prompt", "condition_on_previous_text"}
    names |= {"temperature_increment_on_fallback", "compression_ratio_threshold", "logprob_threshold"}
    names |= {"no_speech_threshold", "enable_vad", "word_timestamps"}
    assert names == set(Fields.model_fields)
    asked = parse_input({"audio": URL, "zzz": 1})
    assert asked.unknown == ("zzz",)
    assert not asked.is_plain


def test_options_reach_the_pipeline(settings: Settings) -> None:
    given: dict[str, Any] = {
        "audio": URL,
        "language": "German",
        "initial_prompt": "Namen",
        "enable_vad": False,
        "word_timestamps": True,
        "beam_size": 2,
        "best_of": 3,
        "patience": 1.5,
        "length_penalty": 0.5,
        "suppress_tokens": "-1, 50",
        "condition_on_previous_text": True,
        "compression_ratio_threshold": 2.0,
        "logprob_threshold": -2,
        "no_speech_threshold": 0.5,
        "translate": True,
    }
    asked = parse_input(given)
    assert asked.tasks == ("transcribe", "translate")
    options = asked.options("transcribe", settings)
    assert (options.language, options.prompt, options.vad, options.word_timestamps) == ("de", "Namen", False, True)
    assert (options.beam_size, options.best_of, options.patience, options.length_penalty) == (2, 3, 1.5, 0.5)
    assert options.suppress_tokens == (-1, 50)
    assert options.condition_on_previous_text
    assert (options.compression_ratio_threshold, options.logprob_threshold, options.no_speech_threshold) == (2, -2, 0.5)
    assert not asked.options("translate", settings).word_timestamps


@pytest.mark.parametrize(
    ("given", "ladder"),
    [
        ({}, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ({"temperature": 0}, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ({"temperature": 0.4}, (0.4,)),
        ({"temperature": 0, "temperature_increment_on_fallback": 0.5}, (0.0, 0.5, 1.0)),
        ({"temperature": 0.3, "temperature_increment_on_fallback": 0.2}, (0.3, 0.5, 0.7, 0.9)),
        ({"temperature": 1, "temperature_increment_on_fallback": 0.2}, (1.0,)),
    ],
)
def test_temperatures_are_a_ladder(given: dict[str, float], ladder: tuple[float, ...], settings: Settings) -> None:
    assert parse_input({"audio_url": URL, **given}).options("transcribe", settings).temperatures == ladder


@pytest.mark.parametrize(
    ("gib", "rows"), [(4, 8), (8, 8), (12, 16), (16, 16), (24, 32), (48, 64), (80, 128), (141, 128)]
)
def test_a_batch_is_as_large_as_suits_the_gpu(gib: int, rows: int) -> None:
    assert recommended_batch(gib * GIB) == rows


@pytest.mark.parametrize("name", ["MODEL_BATCH_SIZE", "AURICLE_MAX_BATCH"])
def test_the_batch_size_of_the_environment_wins(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queue_worker.cuda_memory_bytes", lambda: (24 * GIB,))
    assert worker_settings().max_batch == 32
    monkeypatch.setenv(name, "48")
    assert worker_settings().max_batch == 48
    monkeypatch.setenv(name, "big")
    with pytest.raises(InvalidOption, match="big"):
        worker_settings()


def test_a_worker_without_a_gpu_leaves_the_batch_to_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queue_worker.cuda_memory_bytes", lambda: (24 * GIB,))
    monkeypatch.setenv("AURICLE_DEVICE", "cpu")
    assert worker_settings().max_batch == 0
