"""The official ``openai`` client against a real server: it must be able to change nothing but its URL."""

import re

import httpx
import pytest
from live_server import DIGITS, GERMAN, MINUTE, SILENCE, LiveServer
from openai import AsyncOpenAI, OpenAI

from scoring import word_error_rate


def test_json_is_the_default(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(model="whisper-1", file=DIGITS)
    assert word_error_rate([(DIGITS.with_suffix(".txt").read_text(), answer.text)]) <= 0.2
    assert answer.languages is not None
    assert [language.code for language in answer.languages] == ["en"]
    assert answer.usage is not None
    assert answer.usage.type == "duration"
    assert answer.usage.seconds == 4
    assert answer.logprobs is None


async def test_the_asynchronous_client_gets_the_same(server: LiveServer, client: OpenAI) -> None:
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as asynchronous:
        answer = await asynchronous.audio.transcriptions.create(model="whisper-1", file=DIGITS)
        events = await asynchronous.audio.transcriptions.create(model="whisper-1", file=DIGITS, stream=True)
        done = [event async for event in events][-1]
    assert answer.text == client.audio.transcriptions.create(model="whisper-1", file=DIGITS).text
    assert done.type == "transcript.text.done"
    assert done.text == answer.text


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("text", r"[^\n]+\n"),
        ("srt", r"(\d+\n\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3}\n[^\n]+\n\n?)+"),
        ("vtt", r"WEBVTT\n\n((\d\d:)?\d\d:\d\d\.\d{3} --> (\d\d:)?\d\d:\d\d\.\d{3}\n[^\n]+\n\n?)+"),
    ],
)
def test_plain_formats_are_strings(client: OpenAI, form: str, pattern: str) -> None:
    body = client.audio.transcriptions.create(model="whisper-1", file=MINUTE, response_format=form)  # type: ignore[call-overload]
    assert isinstance(body, str)
    assert re.fullmatch(pattern, body)
    assert "Toronto" in body


def test_verbose_json_has_segments_in_order_inside_the_file(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(model="whisper-1", file=MINUTE, response_format="verbose_json")
    assert (answer.language, answer.duration) == ("english", 60.0)
    assert answer.segments is not None
    assert answer.words is None
    assert "".join(segment.text for segment in answer.segments).strip() == answer.text
    edges = [time for segment in answer.segments for time in (segment.start, segment.end)]
    assert edges == sorted(edges)
    assert 0 <= edges[0] <= edges[-1] <= answer.duration
    assert [segment.id for segment in answer.segments] == list(range(len(answer.segments)))


def test_words_have_times(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        model="whisper-1",
        file=MINUTE,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert answer.words is not None
    assert answer.segments
    assert "".join(word.word for word in answer.words) == answer.text.replace(" ", "")
    assert all(word.start <= word.end for word in answer.words)
    starts = [word.start for word in answer.words]
    assert starts == sorted(starts)


def test_a_stream_adds_up_to_the_text(client: OpenAI) -> None:
    whole = client.audio.transcriptions.create(model="whisper-1", file=MINUTE).text
    events = list(client.audio.transcriptions.create(model="whisper-1", file=MINUTE, stream=True))
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert len(deltas) >= 2
    done = events[-1]
    assert done.type == "transcript.text.done"
    assert "".join(deltas) == done.text == whole
    assert done.usage is not None
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens


def test_log_probabilities_spell_the_text(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(model="whisper-1", file=DIGITS, include=["logprobs"])
    assert answer.logprobs
    assert all(entry.logprob is not None and entry.logprob <= 0 for entry in answer.logprobs)
    spelled = b"".join(bytes(map(int, entry.bytes or [])) for entry in answer.logprobs)
    assert spelled.decode().strip() == answer.text
    assert "".join(entry.token or "" for entry in answer.logprobs).strip() == answer.text


def test_streamed_log_probabilities_are_those_of_the_whole(client: OpenAI) -> None:
    events = list(client.audio.transcriptions.create(model="whisper-1", file=DIGITS, include=["logprobs"], stream=True))
    *deltas, done = events
    assert done.type == "transcript.text.done"
    assert done.logprobs
    streamed = [entry for event in deltas if event.type == "transcript.text.delta" for entry in event.logprobs or []]
    assert [entry.token for entry in streamed] == [entry.token for entry in done.logprobs]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_translation_is_english(client: OpenAI) -> None:
    answer = client.audio.translations.create(model="whisper-1", file=GERMAN)
    verbose = client.audio.translations.create(model="whisper-1", file=GERMAN, response_format="verbose_json")
    assert answer.text.startswith("Please bring the")
    assert (verbose.language, verbose.text) == ("english", answer.text)
    assert verbose.segments


def test_the_language_may_be_named_or_restricted(client: OpenAI) -> None:
    create = client.audio.transcriptions.create
    named = create(model="whisper-1", file=GERMAN, language="German", response_format="verbose_json")
    restricted = create(model="whisper-1", file=GERMAN, languages=["fr", "de"], response_format="verbose_json")
    forced = create(model="whisper-1", file=GERMAN, languages=["en", "es"], response_format="verbose_json")
    assert (named.language, restricted.language) == ("german", "german")
    assert forced.language in {"english", "spanish"}


def test_every_option_of_the_client_is_taken(client: OpenAI) -> None:
    answer = client.audio.transcriptions.with_raw_response.create(
        model="gpt-4o-transcribe",
        file=DIGITS,
        language="en",
        languages=["en", "de"],
        keywords=["seven", "Whisper"],
        prompt="Numbers.",
        temperature=0,
        chunking_strategy={
            "type": "server_vad",
            "threshold": 0.4,
            "prefix_padding_ms": 200,
            "silence_duration_ms": 300,
        },
        include=["logprobs"],
        response_format="json",
        stream=False,
    )
    parsed = answer.parse()
    assert "seven" in parsed.text.lower()
    assert "x-auricle-warnings" not in answer.headers
    assert client.audio.transcriptions.create(model="whisper-1", file=DIGITS, chunking_strategy="auto").text


@pytest.mark.parametrize("form", ["json", "verbose_json", "srt", "vtt", "text"])
def test_silence_is_an_empty_transcript_and_no_error(client: OpenAI, form: str) -> None:
    answer = client.audio.transcriptions.create(model="whisper-1", file=SILENCE, response_format=form)  # type: ignore[call-overload]
    text = answer if isinstance(answer, str) else answer.text
    assert text.removeprefix("WEBVTT").strip() == ""


def test_the_file_is_known_by_its_bytes_not_by_its_name(client: OpenAI) -> None:
    answer = client.audio.transcriptions.create(
        model="whisper-1", file=("notes.txt", MINUTE.read_bytes(), "text/plain")
    )
    assert "Toronto" in answer.text


def test_models_are_listed_and_described(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert {"nano", "whisper-1", "gpt-4o-transcribe"} <= set(names)
    described = client.models.retrieve("nano")
    assert (described.id, described.object) == ("nano", "model")


def test_answers_carry_ids_and_times(client: OpenAI) -> None:
    answer = client.audio.transcriptions.with_raw_response.create(
        model="whisper-1", file=DIGITS, extra_headers={"x-request-id": "mine"}
    )
    assert answer.request_id == "mine"
    assert int(answer.headers["openai-processing-ms"]) > 0


def test_the_form_may_be_sent_by_hand(server: LiveServer) -> None:
    fields = {"response_format": "tsv", "hotwords": "seven", "vad_filter": "true", "user": "me"}
    answer = httpx.post(
        f"{server.url}/v1/audio/transcriptions", files={"file": DIGITS.read_bytes()}, data=fields, timeout=60
    )
    assert answer.text.startswith("start\tend\ttext\n")
    assert answer.headers["content-type"].startswith("text/tab-separated-values")
    assert "'user'" in answer.headers["x-auricle-warnings"]
