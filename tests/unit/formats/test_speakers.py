"""Speakers in every format that shows them."""

import json
from dataclasses import replace

import pytest
from openai.types.audio import TranscriptionDiarized
from spoken_words import spell

from auricle.formats.chunks_json import chunks_output
from auricle.formats.options import FormatOptions, SubtitleOptions
from auricle.formats.registry import FORMATS, render
from auricle.types import Segment, Transcript, Word

CUES = SubtitleOptions(max_line_width=20, max_lines=2)


def said(number: int, speaker: str | None, text: str) -> Segment:
    start = float(number)
    words = tuple(replace(word, speaker=speaker) for word in spell(text, start, start + 1))
    return Segment(id=number, start=start, end=start + 1, text=text, speaker=speaker, words=words)


@pytest.fixture
def talk() -> Transcript:
    segments = (
        said(0, "Ann Lee", " Shall we begin with what we did last week?"),
        said(1, "Ann Lee", " Well?"),
        said(2, "A", " Yes, please."),
        said(3, "<i>&\n--> Bob", " No."),
        said(4, "Ann Lee", " Fine."),
    )
    return Transcript(
        text="".join(segment.text for segment in segments).strip(), segments=segments, language="en", duration=5.0
    )


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_shows_speakers_as_it_always_did(name, talk, snapshot):
    assert render(talk, name, FormatOptions(words=True)).text == snapshot


@pytest.mark.parametrize("name", ["srt", "vtt"])
@pytest.mark.parametrize("highlight", [False, True])
def test_cues_with_rules_show_speakers_as_they_always_did(name, highlight, talk, snapshot):
    rules = replace(CUES, highlight_words=highlight)
    assert render(talk, name, FormatOptions(subtitles=rules)).text == snapshot


def test_diarized_json_is_what_the_client_types_expect(talk):
    body = render(talk, "diarized_json").text
    parsed = TranscriptionDiarized.model_validate_json(body)
    assert parsed.task == "transcribe"
    assert (parsed.text, parsed.duration) == (talk.text, 5.0)
    assert [segment.speaker for segment in parsed.segments] == [segment.speaker for segment in talk.segments]
    assert "".join(segment.text for segment in parsed.segments).strip() == talk.text
    assert len({segment.id for segment in parsed.segments}) == 5
    assert parsed.usage is not None
    assert parsed.usage.type == "duration"
    assert json.loads(body).keys() == {"task", "duration", "text", "segments", "usage"}


def test_without_speakers_no_format_changes(talk):
    def forget(part: Segment) -> Segment:
        words = tuple(replace(word, speaker=None) for word in part.words or ())
        return replace(part, speaker=None, words=words)

    plain = replace(talk, segments=tuple(forget(segment) for segment in talk.segments))
    for name in ("srt", "vtt", "tsv", "verbose_json"):
        body = render(plain, name, FormatOptions(words=True)).text
        assert "speaker" not in body
        assert "Ann" not in body


def test_a_name_counts_for_the_width_of_srt_lines(talk):
    body = render(talk, "srt", FormatOptions(subtitles=CUES)).text
    texts = [line for line in body.splitlines() if line and not line.isdigit() and "-->" not in line]
    assert texts[0].startswith("Ann Lee: ")
    assert all(len(line) <= 20 for line in texts)


def test_a_name_of_vtt_cannot_end_its_tag_or_its_cue(talk):
    body = render(talk, "vtt").text
    assert "<v &lt;i&gt;&amp; --&gt; Bob>No." in body


def test_the_highlight_passes_over_the_name(talk):
    rules = SubtitleOptions(highlight_words=True)
    srt = render(talk, "srt", FormatOptions(subtitles=rules)).text
    assert "Ann Lee: <u>Shall</u> we begin" in srt
    assert "<u>Ann" not in srt


def test_a_segment_without_text_shows_no_name():
    silent = Transcript(
        text="", segments=(Segment(id=0, start=0, end=1, text=" ", speaker="A"),), language="en", duration=1.0
    )
    assert render(silent, "srt").text == ""


def test_words_that_do_not_make_up_the_text_do_no_harm():
    words = (Word(word=" one", start=0, end=1, probability=1, speaker="A"),)
    segment = Segment(id=0, start=0, end=2, text=" one two", speaker="A", words=words)
    talk = Transcript(text="one two", segments=(segment,), language="en", duration=2.0)
    assert "A: one two" in render(talk, "srt").text


def test_chunks_have_what_each_speaker_says_until_another_one_does(talk):
    output = chunks_output(talk)
    assert [(part["speaker"], part["timestamp"]) for part in output["speakers"]] == [
        ("SPEAKER_00", [0.0, 2.0]),
        ("SPEAKER_01", [2.0, 3.0]),
        ("SPEAKER_02", [3.0, 4.0]),
        ("SPEAKER_00", [4.0, 5.0]),
    ]
    assert "".join(part["text"] for part in output["speakers"]).strip() == talk.text
    assert "speakers" not in chunks_output(Transcript(text="", segments=(), language=None, duration=0.0))
