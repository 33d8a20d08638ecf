import json
from typing import Any

import pytest

from auricle.cli.remote_transcript import parse_transcript
from auricle.errors import EngineError
from auricle.formats.options import FormatOptions, SubtitleOptions
from auricle.formats.registry import FORMATS, render
from auricle.types import Dropped, Segment, Timings, Transcript, Word

WORDS = FormatOptions(words=True, subtitles=SubtitleOptions(max_line_width=10, highlight_words=True))


def word(text: str, start: float) -> Word:
    return Word(word=text, start=start, end=round(start + 0.2, 3), probability=0.5)


TRANSCRIPT = Transcript(
    text="Say no, no more. Ça va?",
    segments=(
        Segment(
            id=0,
            start=0.5,
            end=2.0,
            text=" Say no, no more.",
            tokens=(1, 2, 3),
            temperature=0.2,
            avg_logprob=-0.25,
            words=(word(" Say", 0.5), word(" no,", 0.8), word(" no", 1.1), word(" more.", 1.4)),
        ),
        Segment(id=1, start=2.5, end=3.0, text=" Ça va?", words=(word(" Ça", 2.5), word(" va?", 2.7))),
    ),
    language="fr",
    duration=3.5,
    language_probability=0.75,
    dropped=(Dropped(start=3.0, end=3.5, reason="silence"),),
    warnings=("a warning",),
    timings=Timings(total=0.5, audio=3.5, windows=1),
)


def through_the_api(transcript: Transcript, options: FormatOptions) -> Transcript:
    return parse_transcript(json.loads(render(transcript, "verbose_json", options).text))


@pytest.mark.parametrize("name", FORMATS)
def test_a_transcript_from_a_server_gives_the_same_files(name: str):
    there = through_the_api(TRANSCRIPT, WORDS)
    assert render(there, name, WORDS) == render(TRANSCRIPT, name, WORDS)


def test_words_find_back_into_their_segments():
    assert through_the_api(TRANSCRIPT, WORDS) == TRANSCRIPT


def test_without_words_there_are_none():
    assert [segment.words for segment in through_the_api(TRANSCRIPT, FormatOptions()).segments] == [None, None]


def test_the_answer_of_another_server_is_read_too():
    body = json.loads(render(TRANSCRIPT, "verbose_json").text)
    del body["x_auricle"], body["usage"]
    there = parse_transcript(body)
    assert (there.text, there.language, there.duration) == (TRANSCRIPT.text, "fr", 3.5)


@pytest.mark.parametrize("body", [{}, {"text": "only"}, {"task": "transcribe", "text": "", "duration": "?"}])
def test_anything_else_is_an_error(body: dict[str, Any]):
    with pytest.raises(EngineError, match="verbose_json"):
        parse_transcript(body)
