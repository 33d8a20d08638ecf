"""A transcript as chunks with their times, as the pipelines of Hugging Face and the servers on top of them give it."""

from typing import Any

from auricle.types import Transcript

_MS = 3


def chunks_output(transcript: Transcript) -> dict[str, Any]:
    """``{"text", "chunks": [{"timestamp": [start, end], "text"}]}``; words where the transcript has them, else
    segments."""
    pieces = [(word.start, word.end, word.word) for word in transcript.words] or [
        (segment.start, segment.end, segment.text) for segment in transcript.segments
    ]
    return {
        "text": transcript.text,
        "chunks": [{"timestamp": [round(start, _MS), round(end, _MS)], "text": text} for start, end, text in pieces],
    }
