"""All output formats by name."""

from collections.abc import Callable
from dataclasses import dataclass

from auricle.errors import InvalidOption
from auricle.formats.openai_json import render_diarized_json, render_json, render_verbose_json
from auricle.formats.options import FormatOptions
from auricle.formats.plain import render_text, render_tsv
from auricle.formats.subtitles import render_srt, render_vtt
from auricle.types import Transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way to write a transcript."""

    media_type: str
    suffix: str
    """Of a file that holds the body, with the dot."""
    write: Callable[[Transcript, FormatOptions], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A rendered transcript."""

    text: str
    media_type: str


SPEAKERS_FORMAT = "diarized_json"
"""Means nothing without speakers; all other formats may have them."""

FORMATS: dict[str, Format] = {
    "json": Format(media_type="application/json", suffix=".json", write=render_json),
    "text": Format(media_type="text/plain; charset=utf-8", suffix=".txt", write=render_text),
    "srt": Format(media_type="application/x-subrip; charset=utf-8", suffix=".srt", write=render_srt),
    "vtt": Format(media_type="text/vtt; charset=utf-8", suffix=".vtt", write=render_vtt),
    "tsv": Format(media_type="text/tab-separated-values; charset=utf-8", suffix=".tsv", write=render_tsv),
    "verbose_json": Format(media_type="application/json", suffix=".verbose.json", write=render_verbose_json),
    SPEAKERS_FORMAT: Format(media_type="application/json", suffix=".diarized.json", write=render_diarized_json),
}

DEFAULT_OPTIONS = FormatOptions()


def find_format(name: str) -> Format:
    """The format called ``name``; raises InvalidOption with all names where there is none."""
    found = FORMATS.get(name)
    if found is None:
        raise InvalidOption(
            f"response format {name[:40]!r} does not exist; choose one of {', '.join(FORMATS)}", param="response_format"
        )
    return found


def render(transcript: Transcript, name: str, options: FormatOptions = DEFAULT_OPTIONS) -> Body:
    """The transcript in the format called ``name``; raises InvalidOption where there is no such format."""
    chosen = find_format(name)
    return Body(text=chosen.write(transcript, options), media_type=chosen.media_type)
