import pytest

from auricle.errors import InvalidOption
from auricle.formats.options import FormatOptions, SubtitleOptions
from auricle.formats.registry import FORMATS, render
from auricle.types import Transcript

RULES = SubtitleOptions(max_line_width=24, max_lines=2, max_duration_s=4.0, min_duration_s=1.0)
EMPTY = Transcript(text="", segments=(), language=None, duration=0.0)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_writes_what_it_always_wrote(name, transcript, snapshot):
    assert render(transcript, name).text == snapshot


@pytest.mark.parametrize("name", ["json", "verbose_json", "srt", "vtt"])
def test_a_format_with_all_options_writes_what_it_always_wrote(name, transcript, snapshot):
    options = FormatOptions(subtitles=RULES, words=True, segments=False, logprobs=True)
    assert render(transcript, name, options).text == snapshot


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_highlighted_words_are_written_as_always(name, transcript, snapshot):
    options = FormatOptions(subtitles=SubtitleOptions(max_line_width=24, max_lines=2, highlight_words=True))
    assert render(transcript, name, options).text == snapshot


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_transcript_has_a_body(name, snapshot):
    assert render(EMPTY, name).text == snapshot


def test_every_format_has_its_own_suffix():
    assert len({entry.suffix for entry in FORMATS.values()}) == len(FORMATS)


def test_the_media_type_of_vtt_is_one_that_browsers_take(transcript):
    assert render(transcript, "vtt").media_type.startswith("text/vtt")


def test_an_unknown_format_is_refused_with_all_names(transcript):
    with pytest.raises(InvalidOption, match=r"'doc'.*json, text, srt, vtt, tsv, verbose_json") as caught:
        render(transcript, "doc")
    assert caught.value.param == "response_format"


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"max_line_width": 1}, "max_line_width"),
        ({"max_line_width": 1_000_000}, "max_line_width"),
        ({"max_lines": 0}, "max_lines"),
        ({"min_duration_s": -1.0}, "min_duration_s"),
        ({"max_duration_s": 0.0}, "max_duration_s"),
        ({"max_duration_s": float("nan")}, "max_duration_s"),
        ({"min_duration_s": 3.0, "max_duration_s": 2.0}, "min_duration_s"),
    ],
)
def test_a_rule_that_cannot_be_met_is_refused(values, param):
    with pytest.raises(InvalidOption) as caught:
        SubtitleOptions(**values)
    assert caught.value.param == param
