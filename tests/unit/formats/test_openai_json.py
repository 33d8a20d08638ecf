import dataclasses
import json
import math

import pytest
from openai.types.audio import Transcription, TranscriptionVerbose, TranslationVerbose

from auricle.formats.options import FormatOptions
from auricle.formats.registry import render
from auricle.types import Transcript


def test_json_is_what_the_client_types_expect(transcript):
    parsed = Transcription.model_validate_json(render(transcript, "json", FormatOptions(logprobs=True)).text)
    assert parsed.text == transcript.text
    assert [language.code for language in parsed.languages or []] == ["en", "ja"]
    assert parsed.logprobs is not None
    assert parsed.logprobs[0].token == " Ask"
    assert bytes(int(value) for value in parsed.logprobs[0].bytes or []) == b" Ask"
    assert parsed.usage is not None
    assert parsed.usage.type == "duration"
    assert parsed.usage.seconds == 3671


def test_json_has_log_probabilities_only_when_asked(transcript):
    assert "logprobs" not in json.loads(render(transcript, "json").text)


def test_verbose_json_is_what_the_client_types_expect(transcript):
    parsed = TranscriptionVerbose.model_validate_json(
        render(transcript, "verbose_json", FormatOptions(words=True)).text
    )
    assert parsed.language == "english"
    assert parsed.duration == transcript.duration
    assert parsed.text == transcript.text
    assert parsed.segments is not None
    assert [segment.text for segment in parsed.segments] == [segment.text for segment in transcript.segments]
    assert parsed.segments[2].seek == 366150
    assert parsed.words is not None
    assert parsed.words[0].word == "Ask"
    assert parsed.words[-1].end == 7.2
    assert parsed.usage is not None


def test_verbose_json_has_words_and_segments_as_asked(transcript):
    assert "words" not in json.loads(render(transcript, "verbose_json").text)
    only_words = json.loads(render(transcript, "verbose_json", FormatOptions(words=True, segments=False)).text)
    assert "segments" not in only_words
    assert len(only_words["words"]) == 17


def test_words_are_an_empty_list_where_they_were_asked_for_but_nobody_spoke():
    silent = Transcript(text="", segments=(), language=None, duration=3.0)
    body = json.loads(render(silent, "verbose_json", FormatOptions(words=True)).text)
    assert body["words"] == []
    assert body["language"] == "unknown"


def test_a_translation_is_in_english_whatever_was_spoken(transcript):
    translated = dataclasses.replace(transcript, task="translate", language="de")
    parsed = TranslationVerbose.model_validate_json(render(translated, "verbose_json").text)
    assert parsed.language == "english"
    assert json.loads(render(translated, "json").text)["languages"][0] == {"code": "de"}


def test_our_own_remarks_stand_apart(transcript):
    remarks = json.loads(render(transcript, "verbose_json").text)["x_auricle"]
    assert remarks["warnings"] == ["keywords are ignored"]
    assert remarks["dropped"] == [{"start": 9.0, "end": 3661.5, "reason": "silence"}]
    assert remarks["timings"]["rtfx"] == pytest.approx(146.81)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_cannot_say_are_replaced(transcript, value):
    odd = dataclasses.replace(transcript.segments[0], avg_logprob=value)
    body = render(dataclasses.replace(transcript, segments=(odd,)), "verbose_json").text
    assert json.loads(body)["segments"][0]["avg_logprob"] == -9999.0
