"""Cuts windows of at most 30 s out of clips."""

import numpy as np

from auricle.types import Clip, Samples, Span, Window
from auricle.units import N_FFT, N_SAMPLES

# How far the first and the last frame of a window look beyond it.
_EDGE = N_FFT // 2
_NOTHING = np.zeros(0, np.float32)


def cut_window(clip: Clip, position: int) -> Window:
    """The window from sample ``position`` of the clip on, at most 30 s; empty at the clip's end.

    Its samples are a view of the clip's; its neighbours are those in the clip, also across seams.
    """
    end = min(position + N_SAMPLES, clip.samples.size)
    pieces = _slice_pieces(clip.pieces, position, end)
    return Window(
        clip_index=clip.index,
        pieces=pieces,
        speech=_intersect(clip.speech, pieces),
        samples=clip.samples[position:end],
        before=clip.samples[max(0, position - _EDGE) : position],
        after=clip.samples[end : end + _EDGE],
    )


def plain_window(
    samples: Samples, *, start: int, before: Samples = _NOTHING, after: Samples = _NOTHING, clip_index: int = 0
) -> Window:
    """A window over ``samples`` (<= 480_000,), which begin at sample ``start`` of the file; all of it counts as speech.

    Only the 200 nearest samples of ``before`` and ``after`` are kept.
    """
    whole = (Span(start=start, end=start + samples.size),)
    return Window(
        clip_index=clip_index,
        pieces=whole,
        speech=whole,
        samples=samples,
        before=before[-_EDGE:],
        after=after[:_EDGE],
    )


def _slice_pieces(pieces: tuple[Span, ...], start: int, end: int) -> tuple[Span, ...]:
    """The ranges of the file behind samples ``start`` to ``end`` of the concatenated pieces."""
    sliced: list[Span] = []
    offset = 0
    for piece in pieces:
        first, last = max(start - offset, 0), min(end - offset, piece.length)
        if first < last:
            sliced.append(Span(start=piece.start + first, end=piece.start + last))
        offset += piece.length
    if not sliced:
        # An empty window still has a place in the file.
        sliced.append(Span(start=pieces[-1].end, end=pieces[-1].end))
    return tuple(sliced)


def _intersect(speech: tuple[Span, ...], pieces: tuple[Span, ...]) -> tuple[Span, ...]:
    both = (Span(start=max(s.start, p.start), end=min(s.end, p.end)) for p in pieces for s in speech)
    return tuple(span for span in both if span.length > 0)
