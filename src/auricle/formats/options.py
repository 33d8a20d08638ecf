"""What a caller may ask of an output format."""

import math
from dataclasses import dataclass, field

from auricle.errors import InvalidOption

MAX_LINE_WIDTH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtitleOptions:
    """Rules for the cues of srt and vtt; None leaves the segments as they are.

    Raises InvalidOption where a value cannot be met.
    """

    max_line_width: int | None = None
    """Columns of a line; wide (East Asian) characters take two."""
    max_lines: int | None = None
    """Lines of a cue; needs ``max_line_width`` to have an effect."""
    min_duration_s: float | None = None
    """Shorter cues stay longer on the screen, though never into the next cue."""
    max_duration_s: float | None = None
    highlight_words: bool = False
    """One cue a word, with that word underlined; segments without word times stay plain."""

    def __post_init__(self) -> None:
        width = self.max_line_width
        if width is not None and not 2 <= width <= MAX_LINE_WIDTH:
            raise InvalidOption(f"max_line_width is {width}; it must be 2 to {MAX_LINE_WIDTH}", param="max_line_width")
        if self.max_lines is not None and self.max_lines < 1:
            raise InvalidOption(f"max_lines is {self.max_lines}; it must be at least 1", param="max_lines")
        for name in ("min_duration_s", "max_duration_s"):
            seconds = getattr(self, name)
            if seconds is not None and not (math.isfinite(seconds) and 0.001 <= seconds <= 3600):
                raise InvalidOption(f"{name} is {seconds}; it must be 0.001 to 3600 seconds", param=name)
        low, high = self.min_duration_s, self.max_duration_s
        if low is not None and high is not None and low > high:
            raise InvalidOption(
                f"min_duration_s is {low}, which is more than max_duration_s, {high}", param="min_duration_s"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatOptions:
    """What goes into a body, beside the text."""

    subtitles: SubtitleOptions = field(default_factory=SubtitleOptions)
    words: bool = False
    """Words with their times in verbose_json."""
    segments: bool = True
    """Segments in verbose_json."""
    logprobs: bool = False
    """Log-probabilities of the tokens in json."""
