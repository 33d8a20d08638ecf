import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spoken_words import spell

from auricle.formats.options import FormatOptions, SubtitleOptions
from auricle.formats.registry import render
from auricle.types import Segment, Transcript

SEGMENTS = st.lists(
    st.builds(
        lambda text, start, length: Segment(id=0, start=start, end=start + length, text=text),
        st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)
        | st.just("a --> b\n\n1\n<i>&amp;"),
        st.floats(0, 400_000),
        st.floats(0, 30),
    ),
    max_size=8,
)
Parsed = list[tuple[int, int, str]]


def milliseconds(stamp: str) -> int:
    hours, minutes, seconds, rest = map(int, re.split(r"[:.,]", stamp))
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + rest


def parse_srt(body: str) -> Parsed:
    """Blocks between blank lines: a number that counts, the times, the text."""
    found: Parsed = []
    for number, block in enumerate(body.rstrip("\n").split("\n\n") if body else [], start=1):
        counter, times, *text = block.split("\n")
        match = re.fullmatch(r"(\d{2,}:\d\d:\d\d,\d{3}) --> (\d{2,}:\d\d:\d\d,\d{3})", times)
        assert match
        assert counter == str(number)
        assert text
        found.append((milliseconds(match[1]), milliseconds(match[2]), "\n".join(text)))
    return found


def parse_vtt(body: str) -> Parsed:
    """The header, then blocks between blank lines: the times, the text with escapes."""
    header, *blocks = body.rstrip("\n").split("\n\n")
    assert header == "WEBVTT"
    found: Parsed = []
    for block in blocks:
        times, *text = block.split("\n")
        match = re.fullmatch(r"(\d{2,}:\d\d:\d\d\.\d{3}) --> (\d{2,}:\d\d:\d\d\.\d{3})", times)
        assert match
        assert text
        assert not any("-->" in line for line in text)
        found.append((milliseconds(match[1]), milliseconds(match[2]), html.unescape("\n".join(text))))
    return found


def transcript_of(segments: list[Segment]) -> Transcript:
    return Transcript(text="", segments=tuple(segments), language="en", duration=1.0)


def letters(text: str) -> str:
    return "".join(text.replace("-->", "→").split())


@given(segments=SEGMENTS)
def test_srt_parses_back_to_the_same_text_in_order(segments):
    parsed = parse_srt(render(transcript_of(segments), "srt").text)
    assert letters("".join(text for _, _, text in parsed)) == "".join(letters(entry.text) for entry in segments)
    times = [time for start, end, _ in parsed for time in (start, end)]
    assert times == sorted(times)
    assert all(start < end for start, end, _ in parsed)


@given(segments=SEGMENTS)
def test_vtt_parses_back_to_the_same_text_in_order(segments):
    parsed = parse_vtt(render(transcript_of(segments), "vtt").text)
    expected = "".join("".join(entry.text.split()) for entry in segments)
    assert "".join("".join(text.split()) for _, _, text in parsed) == expected
    times = [time for start, end, _ in parsed for time in (start, end)]
    assert times == sorted(times)
    assert all(start < end for start, end, _ in parsed)


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_hours_are_always_written(name, transcript):
    first, *_ = re.findall(r"\d[\d:.,]+ --> \S+", render(transcript, name).text)
    assert first in {"00:00:00,000 --> 00:00:07,200", "00:00:00.000 --> 00:00:07.200"}
    assert re.search(r"01:01:01[.,]500 -->", render(transcript, name).text)


def test_markup_in_the_text_stays_text_in_vtt():
    body = render(transcript_of([Segment(id=0, start=0, end=1, text="<b>a</b> & b --> c")]), "vtt").text
    assert "&lt;b&gt;a&lt;/b&gt; &amp; b --&gt; c" in body


def test_each_word_is_underlined_in_its_turn():
    text = " one two three"
    spoken = Segment(id=0, start=0.0, end=3.0, text=text, words=spell(text, 0.0, 3.0))
    options = FormatOptions(subtitles=SubtitleOptions(max_line_width=8, highlight_words=True))
    parsed = parse_srt(render(transcript_of([spoken]), "srt", options).text)
    assert parsed == [
        (0, 1000, "<u>one</u> two\nthree"),
        (1000, 2000, "one <u>two</u>\nthree"),
        (2000, 3000, "one two\n<u>three</u>"),
    ]


def test_markup_in_a_highlighted_word_stays_text():
    spoken = Segment(id=0, start=0.0, end=1.0, text=" R&D", words=spell(" R&D", 0.0, 1.0))
    options = FormatOptions(subtitles=SubtitleOptions(highlight_words=True))
    assert "<u>R&amp;D</u>" in render(transcript_of([spoken]), "vtt", options).text
