"""What the official client raises when something is wrong."""

import io
import wave

import openai
import pytest
from live_server import DIGITS, MINUTE, LiveServer, wait_until
from openai import OpenAI


def body_of(error: openai.APIStatusError) -> dict:
    assert isinstance(error.body, dict)
    assert set(error.body) == {"message", "type", "param", "code"}
    return error.body


def silent_wav(seconds: float, rate: int = 1000) -> bytes:
    """Few bytes for many seconds."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(1)
        out.setframerate(rate)
        out.writeframes(b"\x80" * int(seconds * rate))
    return buffer.getvalue()


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.audio.transcriptions.create(model="no-such-model", file=DIGITS)
    assert body_of(caught.value)["code"] == "model_not_found"
    assert caught.value.request_id


@pytest.mark.parametrize("model", ["../../etc", "/etc", "a/../../b", "\u202e", "x" * 200, "no/such/repo"])
def test_a_hostile_model_name_is_refused(client: OpenAI, model: str) -> None:
    with pytest.raises((openai.NotFoundError, openai.BadRequestError)):
        client.audio.transcriptions.create(model=model, file=DIGITS)


def test_an_empty_file_is_a_bad_request(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b""))
    assert body_of(caught.value)["code"] == "empty_audio"
    assert body_of(caught.value)["param"] == "file"


@pytest.mark.parametrize("stream", [False, True])
def test_a_text_file_is_an_unsupported_media_type(client: OpenAI, stream: bool) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"This is no audio. " * 50), stream=stream)
    assert caught.value.status_code == 415
    assert body_of(caught.value)["code"] == "unsupported_audio"


def test_a_file_cut_off_in_its_headers_is_a_bad_request(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=("a.flac", MINUTE.read_bytes()[:60]))
    assert body_of(caught.value)["code"] == "corrupt_audio"


def test_a_file_cut_off_in_the_middle_gives_what_is_there(client: OpenAI) -> None:
    half = ("a.flac", MINUTE.read_bytes()[:200_000])
    answer = client.audio.transcriptions.create(model="whisper-1", file=half, response_format="verbose_json")
    assert "Sophie" in answer.text
    assert 10 < answer.duration < 30


def test_a_file_that_is_too_large_names_the_limit_and_the_size(client: OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=("a.wav", bytes(3 << 20)))
    assert caught.value.status_code == 413
    assert "3.0 MiB" in body_of(caught.value)["message"]
    assert "2 MiB" in body_of(caught.value)["message"]


def test_a_file_that_is_far_too_large_is_refused_just_as_clearly(client: OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=("a.wav", bytes(30 << 20)))
    assert caught.value.status_code == 413
    assert "30.0 MiB" in body_of(caught.value)["message"]


def test_audio_that_is_too_long_is_refused_however_small_the_file(client: OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(model="whisper-1", file=("a.wav", silent_wav(1800)))
    assert caught.value.status_code == 413
    assert body_of(caught.value)["code"] == "audio_too_long"
    assert "120" in body_of(caught.value)["message"]


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"response_format": "xml"}, "response_format"),
        ({"temperature": 3}, "temperature"),
        ({"language": "klingon"}, "language"),
        ({"languages": ["klingon"]}, "languages"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities"),
        ({"include": ["logprobs"], "response_format": "text"}, "include"),
        ({"prompt": "x" * 20_000}, "prompt"),
        ({"model": "a\0b"}, "model"),
        ({"known_speaker_names": ["Ann"], "known_speaker_references": ["data:x"]}, "known_speaker_references"),
        ({"known_speaker_names": list("abcde")}, "known_speaker_names"),
        ({"chunking_strategy": {"type": "server_vad", "threshold": 7}}, "chunking_strategy.threshold"),
    ],
)
def test_a_wrong_option_is_a_bad_request_that_names_it(client: OpenAI, options: dict, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.transcriptions.create(**({"model": "whisper-1", "file": DIGITS} | options))
    assert body_of(caught.value)["param"] == param
    assert body_of(caught.value)["type"] == "invalid_request_error"


def test_an_unknown_model_is_not_described(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("org/none")


def test_nothing_stays_on_disk_after_errors(client: OpenAI, server: LiveServer) -> None:
    with pytest.raises(openai.APIStatusError):
        client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"no audio at all"))
    wait_until(lambda: server.uploads() == [])
