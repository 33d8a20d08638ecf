"""SubRip (srt) and WebVTT (vtt) files.

SubRip has no standard; this is what players agree on. WebVTT: https://www.w3.org/TR/webvtt1/
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise

from auricle.formats.cues import Cue, make_cues
from auricle.formats.lines import clean_text
from auricle.formats.options import FormatOptions, SubtitleOptions
from auricle.types import Segment, Transcript, Word


def render_srt(transcript: Transcript, options: FormatOptions) -> str:
    """Numbered cues with times as ``00:00:00,000``, speakers as ``Name: ``; empty for an empty transcript."""
    segments = [_with_name(segment) for segment in transcript.segments]
    shown = _shown(segments, options.subtitles, _without_arrow)
    blocks = [
        f"{number}\n{_format_time(start, ',')} --> {_format_time(end, ',')}\n{text}\n"
        for number, (_, start, end, text) in enumerate(shown, start=1)
    ]
    return "\n".join(blocks)


def render_vtt(transcript: Transcript, options: FormatOptions) -> str:
    """The header and cues with times as ``00:00:00.000``, speakers as ``<v Name>``; ``&``, ``<``, ``>`` are escaped."""
    blocks = [
        f"{_format_time(start, '.')} --> {_format_time(end, '.')}\n{_voice(cue)}{text}\n"
        for cue, start, end, text in _shown(transcript.segments, options.subtitles, _escape)
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def _with_name(segment: Segment) -> Segment:
    """The segment with its speaker's name before the text, as a word that takes no time."""
    if segment.speaker is None or not clean_text(segment.text):
        return segment
    name = f" {clean_text(segment.speaker)}:"
    words = segment.words
    if words:
        start = words[0].start
        words = (Word(word=name, start=start, end=start, probability=1.0), *words)
    return replace(segment, text=f"{name} {segment.text.lstrip()}", words=words)


def _voice(cue: Cue) -> str:
    """What names the speaker of a cue; it need not be closed where it is about all of the cue."""
    return "" if cue.speaker is None else f"<v {_escape(clean_text(cue.speaker))}>"


def _shown(
    segments: Iterable[Segment], options: SubtitleOptions, escape: Callable[[str], str]
) -> list[tuple[Cue, int, int, str]]:
    """(its cue, start ms, end ms, text) of all that appears on the screen."""
    cues = make_cues(segments, options)
    if options.highlight_words:
        return [(cue, *shown) for cue in cues for shown in _highlight(cue, escape)]
    return [(cue, cue.start_ms, cue.end_ms, "\n".join(escape(line) for line in cue.lines)) for cue in cues]


def _highlight(cue: Cue, escape: Callable[[str], str]) -> list[tuple[int, int, str]]:
    """The cue once for each of its words, with that word underlined until the next one starts."""
    if not cue.words:
        return [(cue.start_ms, cue.end_ms, "\n".join(escape(line) for line in cue.lines))]
    starts = [cue.start_ms]
    for word in cue.words[1:]:
        starts.append(min(max(round(word.start * 1000), starts[-1]), cue.end_ms))
    shown: list[tuple[int, int, str]] = []
    first = 0
    for word, (start, end) in zip(cue.words, pairwise([*starts, cue.end_ms]), strict=True):
        last = first + len(word.text.replace(" ", ""))
        if start < end:
            shown.append((start, end, _underline(cue.lines, first, last, escape)))
        first = last
    return shown


def _underline(lines: tuple[str, ...], first: int, last: int, escape: Callable[[str], str]) -> str:
    """The lines with ``<u>`` around the characters ``first`` to ``last``, not counting spaces and line ends."""
    marked: list[str] = []
    position = 0
    for line in lines:
        runs: list[tuple[bool, str]] = []
        for char in line:
            is_inside = char != " " and first <= position < last
            position += char != " "
            if runs and runs[-1][0] == is_inside:
                runs[-1] = (is_inside, runs[-1][1] + char)
            else:
                runs.append((is_inside, char))
        marked.append("".join(f"<u>{escape(run)}</u>" if is_inside else escape(run) for is_inside, run in runs))
    return "\n".join(marked)


def _format_time(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{rest:03d}"


def _without_arrow(text: str) -> str:
    # SubRip knows no escapes, and an arrow in the text would look like the times of a cue.
    return text.replace("-->", "\N{RIGHTWARDS ARROW}")


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
