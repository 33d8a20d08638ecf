"""``/asr``, ``/detect-language`` and ``/inference`` against a real server."""

import re
import wave

import httpx
import pytest
from live_server import DIGITS, GERMAN, SILENCE, LiveServer


def asr(server: LiveServer, query: str = "", audio: bytes | None = None) -> httpx.Response:
    files = {"audio_file": ("talk.wav", DIGITS.read_bytes() if audio is None else audio)}
    return httpx.post(f"{server.url}/asr?{query}", files=files, timeout=60)


def infer(server: LiveServer, **form: str) -> httpx.Response:
    return httpx.post(f"{server.url}/inference", files={"file": DIGITS.read_bytes()}, data=form, timeout=60)


def samples_of(path) -> bytes:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (16_000, 2, 1)
        return file.readframes(file.getnframes())


@pytest.mark.parametrize(
    ("output", "pattern"),
    [
        ("txt", r"\S.*\n"),
        ("srt", r"1\n\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3}\n\S"),
        ("vtt", r"WEBVTT\n\n\d\d:"),
        ("tsv", r"start\tend\ttext\n\d+\t\d+\t\S"),
    ],
)
def test_asr_answers_with_a_file(server: LiveServer, output: str, pattern: str) -> None:
    answer = asr(server, f"output={output}")
    assert answer.status_code == 200, answer.text
    assert re.match(pattern, answer.text)
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["content-disposition"] == f'attachment; filename="talk.wav.{output}"'


def test_asr_has_json_as_openai_whisper_writes_it(server: LiveServer) -> None:
    body = asr(server, "output=json&word_timestamps=true&language=en").json()
    assert body.keys() == {"text", "segments", "language"}
    assert body["language"] == "en"
    for segment in body["segments"]:
        assert {"id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob"} <= segment.keys()
        assert "".join(word["word"] for word in segment["words"]).strip() == segment["text"].strip()
    plain = asr(server, "output=json").json()
    assert all("words" not in segment for segment in plain["segments"])


def test_raw_samples_are_heard_like_the_file_they_are_of(server: LiveServer) -> None:
    raw = asr(server, "encode=false&output=srt&task=transcribe&language=en", samples_of(DIGITS))
    assert raw.status_code == 200, raw.text
    assert raw.text == asr(server, "output=srt&language=en").text


@pytest.mark.parametrize("encode", ["true", "false"])
def test_the_language_is_detected(server: LiveServer, encode: str) -> None:
    audio = samples_of(GERMAN) if encode == "false" else GERMAN.read_bytes()
    answer = httpx.post(f"{server.url}/detect-language?encode={encode}", files={"audio_file": audio}, timeout=60)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body.keys() == {"detected_language", "language_code", "confidence"}
    assert (body["detected_language"], body["language_code"]) == ("german", "de")
    assert 0.5 < body["confidence"] <= 1


def test_silence_is_in_no_language_but_has_an_answer(server: LiveServer) -> None:
    answer = httpx.post(f"{server.url}/detect-language", files={"audio_file": SILENCE.read_bytes()}, timeout=60)
    assert answer.json() == {"detected_language": "english", "language_code": "en", "confidence": 0.0}


@pytest.mark.parametrize("path", ["/asr", "/detect-language"])
def test_errors_are_details(server: LiveServer, path: str) -> None:
    for files in ({"audio_file": b"<html>"}, {"audio_file": b""}, {"file": b"x"}):
        answer = httpx.post(server.url + path, files=files)
        assert 400 <= answer.status_code < 500
        assert answer.json().keys() == {"detail"}
        assert isinstance(answer.json()["detail"], str)


def test_inference_answers_as_whisper_cpp(server: LiveServer) -> None:
    body = infer(server, temperature="0.0", temperature_inc="0.2", response_format="json").json()
    assert body.keys() == {"text"}
    assert body["text"].endswith("\n")
    text = infer(server, response_format="text")
    assert text.text == body["text"]
    assert infer(server).json() == body
    assert infer(server, response_format="srt").headers["content-type"].startswith("application/x-subrip")
    assert infer(server, response_format="vtt").text.startswith("WEBVTT")


def test_inference_has_words_and_languages_in_verbose_json(server: LiveServer) -> None:
    body = infer(server, response_format="verbose_json").json()
    assert {"task", "language", "duration", "text", "segments"} <= body.keys()
    assert body["language"] == body["detected_language"] == "english"
    assert body["language_probabilities"] == {"en": body["detected_language_probability"]}
    for segment in body["segments"]:
        assert {
            "id",
            "text",
            "start",
            "end",
            "tokens",
            "temperature",
            "avg_logprob",
            "no_speech_prob",
        } <= segment.keys()
        assert all({"word", "start", "end", "t_dtw", "probability"} <= word.keys() for word in segment["words"])


def test_inference_refuses_with_a_text(server: LiveServer) -> None:
    for answer in (
        infer(server, temperature_inc="nan"),
        infer(server, offset_t="500"),
        httpx.post(f"{server.url}/inference", data={"language": "en"}, files={"other": b"x"}),
    ):
        assert answer.status_code == 400
        assert isinstance(answer.json()["error"], str)
