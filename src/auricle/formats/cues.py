"""Segments into subtitle cues that obey the rules for width, lines and duration."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from auricle.formats.lines import clean_text, count_lines, display_width, split_atoms, wrap_balanced
from auricle.formats.options import SubtitleOptions
from auricle.types import Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Text that is not cut: a word, or a character of a language without spaces; times in seconds of the file."""

    text: str
    """With the space that precedes it."""
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """Lines that are on the screen from ``start_ms`` to ``end_ms``, milliseconds of the file."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]
    words: tuple[Unit, ...] = ()
    """The words in the lines, where their times are known."""
    speaker: str | None = None


def make_cues(segments: Iterable[Segment], options: SubtitleOptions) -> list[Cue]:
    """Cues in the order of the segments, never overlapping, each with ``start_ms < end_ms``.

    Segments with word times are cut between words; others in proportion to the width of their text.
    """
    drafts: list[tuple[list[Unit], bool, str | None]] = []
    for segment in segments:
        words = _word_units(segment, options)
        text = clean_text(segment.text)
        whole = Unit(text=text, start=segment.start, end=segment.end)
        units = words or _spread(whole, options.max_line_width or display_width(text))
        drafts.extend((group, bool(words), segment.speaker) for group in _group(units, options))
    starts: list[int] = []
    for group, _, _ in drafts:
        start = max(0, _to_ms(group[0].start))
        starts.append(max(start, starts[-1] + 1) if starts else start)
    cues: list[Cue] = []
    for index, (group, is_timed, speaker) in enumerate(drafts):
        end = max(_to_ms(group[-1].end), starts[index] + 1)
        if options.min_duration_s is not None:
            end = max(end, starts[index] + _to_ms(options.min_duration_s))
        if options.max_duration_s is not None:
            end = min(end, starts[index] + _to_ms(options.max_duration_s))
        if index + 1 < len(starts):
            end = min(end, starts[index + 1])
        text = _join(group)
        lines = [text] if options.max_line_width is None else wrap_balanced(text, options.max_line_width)
        shown = tuple(group) if is_timed else ()
        cues.append(Cue(start_ms=starts[index], end_ms=end, lines=tuple(lines), words=shown, speaker=speaker))
    return cues


def _word_units(segment: Segment, options: SubtitleOptions) -> list[Unit]:
    """The segment's words, or nothing where they do not make up its text: a cue must not lose any."""
    text = clean_text(segment.text)
    words = segment.words or ()
    letters = [clean_text(word.word).replace(" ", "") for word in words]
    if "".join(letters) != text.replace(" ", ""):
        return []
    units: list[Unit] = []
    end = 0
    for word, own in zip(words, letters, strict=True):
        start, left = end, len(own)
        while left:
            left -= text[end] != " "
            end += 1
        unit = Unit(text=text[start:end], start=word.start, end=word.end)
        width = options.max_line_width
        if own:
            units.extend([unit] if width is None or _fits([unit], options) else _spread(unit, width))
    return units


def _spread(unit: Unit, width: int) -> list[Unit]:
    """The smallest parts of the text, each with its share of the time."""
    seconds_per_column = (unit.end - unit.start) / max(1, display_width(unit.text))
    units: list[Unit] = []
    start = unit.start
    for atom in split_atoms(unit.text, width):
        end = start + display_width(atom) * seconds_per_column
        units.append(Unit(text=atom, start=start, end=end))
        start = end
    return units


def _group(units: Sequence[Unit], options: SubtitleOptions) -> list[list[Unit]]:
    groups: list[list[Unit]] = []
    for unit in units:
        if groups and _fits([*groups[-1], unit], options):
            groups[-1].append(unit)
        else:
            groups.append([unit])
    return groups


def _fits(units: Sequence[Unit], options: SubtitleOptions) -> bool:
    if options.max_duration_s is not None and units[-1].end - units[0].start > options.max_duration_s:
        return False
    if options.max_line_width is None or options.max_lines is None:
        return True
    return count_lines(_join(units), options.max_line_width) <= options.max_lines


def _join(units: Sequence[Unit]) -> str:
    return "".join(unit.text for unit in units).strip()


def _to_ms(seconds: float) -> int:
    return round(seconds * 1000)
