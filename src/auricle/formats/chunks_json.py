"""A transcript as chunks with their times, as the pipelines of Hugging Face and the servers on top of them give it."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from auricle.types import Segment, Transcript

_MS = 3


def chunks_output(transcript: Transcript) -> dict[str, Any]:
    """``{"text", "chunks": [{"timestamp": [start, end], "text"}]}``; words where the transcript has them, else
    segments. Where speakers are known, also ``"speakers": [{"speaker", "timestamp", "text"}]``."""
    pieces = [(word.start, word.end, word.word) for word in transcript.words] or [
        (segment.start, segment.end, segment.text) for segment in transcript.segments
    ]
    output: dict[str, Any] = {
        "text": transcript.text,
        "chunks": [{"timestamp": [round(start, _MS), round(end, _MS)], "text": text} for start, end, text in pieces],
    }
    if speakers := list(_speakers(transcript.segments)):
        output["speakers"] = speakers
    return output


def _speakers(segments: Sequence[Segment]) -> Iterator[dict[str, Any]]:
    """What each speaker says until another one does; they are numbered in order, as pyannote's are."""
    numbers: dict[str, int] = {}
    for speaker, group in groupby(segments, key=lambda segment: segment.speaker):
        if speaker is None:
            continue
        said = list(group)
        number = numbers.setdefault(speaker, len(numbers))
        yield {
            "speaker": f"SPEAKER_{number:02d}",
            "timestamp": [round(said[0].start, _MS), round(said[-1].end, _MS)],
            "text": "".join(segment.text for segment in said),
        }
