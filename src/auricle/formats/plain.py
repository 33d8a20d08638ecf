"""Plain text, and openai/whisper's table of segments."""

from auricle.formats.options import FormatOptions
from auricle.types import Transcript


def render_text(transcript: Transcript, options: FormatOptions) -> str:
    """The text and one newline."""
    return transcript.text.strip() + "\n"


def render_tsv(transcript: Transcript, options: FormatOptions) -> str:
    """A header and one line a segment: start and end in whole milliseconds, then the text."""
    rows = [
        f"{round(segment.start * 1000)}\t{round(segment.end * 1000)}\t{' '.join(segment.text.split())}"
        for segment in transcript.segments
    ]
    return "\n".join(["start\tend\ttext", *rows]) + "\n"
