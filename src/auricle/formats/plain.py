"""Plain text, and openai/whisper's table of segments."""

from auricle.formats.options import FormatOptions
from auricle.types import Transcript


def render_text(transcript: Transcript, options: FormatOptions) -> str:
    """The text and one newline."""
    return transcript.text.strip() + "\n"


def render_tsv(transcript: Transcript, options: FormatOptions) -> str:
    """A header and one line a segment: start and end in whole milliseconds, text, and speaker where they are known."""
    rows = [["start", "end", "text"]]
    for segment in transcript.segments:
        times = [str(round(seconds * 1000)) for seconds in (segment.start, segment.end)]
        rows.append([*times, " ".join(segment.text.split())])
    if any(segment.speaker is not None for segment in transcript.segments):
        speakers = ["speaker", *(" ".join((segment.speaker or "").split()) for segment in transcript.segments)]
        rows = [[*row, speaker] for row, speaker in zip(rows, speakers, strict=True)]
    return "".join("\t".join(row) + "\n" for row in rows)
