"""Parts of the transcript, in order, into the whole."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from auricle.pipeline.clip import WindowDone
from auricle.types import ClipDone, Dropped, Segment, Span, Timings, TranscribeOptions, Transcript
from auricle.units import samples_to_seconds

_MIN_SILENCE_S = 1.0
"""Shorter stretches without speech are not worth a ``dropped`` entry."""


@dataclass(slots=True)
class Assembler:
    """Collects what the clips give, numbers the segments, and notes what was left out."""

    segments: list[Segment] = field(default_factory=list[Segment])
    dropped: list[Dropped] = field(default_factory=list[Dropped])
    position: float = 0.0
    """Seconds of the file that the clips so far reach to."""
    pieces: list[Span] = field(default_factory=list[Span])
    """What was decoded; those of channels overlap."""

    def add(self, pieces: Sequence[Span], windows: Sequence[WindowDone]) -> ClipDone:
        """Take in a clip: the ranges of the file that it is made of and what its windows gave."""
        for piece in pieces:
            self.pieces.append(piece)
            self.position = max(self.position, samples_to_seconds(piece.end))
        added: list[Segment] = []
        for window in windows:
            if not window.segments:
                start, end = samples_to_seconds(window.start), samples_to_seconds(window.end)
                self.dropped.append(Dropped(start=start, end=end, reason="no_speech"))
            for segment in window.segments:
                added.append(replace(segment, id=len(self.segments) + len(added)))
        self.segments.extend(added)
        start = samples_to_seconds(pieces[0].start) if pieces else self.position
        return ClipDone(start=start, end=self.position, segments=tuple(added))

    def finish(
        self,
        options: TranscribeOptions,
        *,
        language: str | None,
        language_probability: float | None,
        warnings: Sequence[str],
        timings: Timings,
    ) -> Transcript:
        """The whole transcript; the file ends after ``timings.audio`` seconds."""
        dropped = [*self.dropped, *_silences(self.pieces, timings.audio)]
        return Transcript(
            text="".join(segment.text for segment in self.segments).strip(),
            segments=tuple(self.segments),
            language=language,
            language_probability=language_probability,
            duration=timings.audio,
            task=options.task,
            dropped=tuple(sorted(dropped, key=lambda span: span.start)),
            warnings=tuple(warnings),
            timings=timings,
        )


def in_order_of_time(segments: Sequence[Segment]) -> list[Segment]:
    """Segments of several channels as if they were of one file, numbered anew."""
    ordered = sorted(segments, key=lambda segment: (segment.start, segment.end))
    return [replace(segment, id=number) for number, segment in enumerate(ordered)]


def _silences(pieces: Sequence[Span], duration: float) -> list[Dropped]:
    """What lies between the pieces, and before and behind all of them."""
    silences: list[Dropped] = []
    position = 0.0
    found = [(samples_to_seconds(piece.start), samples_to_seconds(piece.end)) for piece in sorted(pieces)]
    for start, end in [*found, (duration, duration)]:
        if start - position >= _MIN_SILENCE_S:
            silences.append(Dropped(start=position, end=start, reason="silence"))
        position = max(position, end)
    return silences
