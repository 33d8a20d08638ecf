"""Cuts the speech of clips into excerpts for the network, and into units that get a speaker each.

Both are counted in frames of speech: silence is left out, so that frame 1000 comes 10 s of speech after the beginning.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from auricle.speakers.embedding import EXCERPT_FRAMES
from auricle.types import Clip, Span
from auricle.units import HOP_LENGTH, SAMPLE_RATE

# Speech is one stretch while its pauses are shorter: an excerpt over a longer one would more often hold two speakers.
_MAX_GAP = 3 * SAMPLE_RATE // 10
# Somebody who speaks on and on is cut somewhere, so that the spectra of hours are not held at once.
_MAX_STRETCH = 30 * SAMPLE_RATE
# What is this near to speech may be speech.
_MARGIN_FRAMES = 5
_UNIT_FRAMES = 40
_HOP_FRAMES = 120
# A stretch that is so little longer than an excerpt is one.
_SLACK_FRAMES = 24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stretch:
    """Speech with short pauses at most, which are left out."""

    centres: NDArray[np.int64]
    """Where each frame is, in samples of the clip."""
    units: tuple[tuple[int, int, Span], ...]
    """First frame and the one after the last, and the samples of the file, of each piece of at most 0.4 s."""


def find_stretches(clip: Clip) -> Iterator[Stretch]:
    """The speech of a clip, in order."""
    group: list[Span] = []
    for speech in _short(clip.speech):
        if group and (speech.start - group[-1].end > _MAX_GAP or speech.end - group[0].start > _MAX_STRETCH):
            yield _stretch(clip, group)
            group = []
        group.append(speech)
    if group:
        yield _stretch(clip, group)


def find_silence(clip: Clip) -> NDArray[np.int64]:
    """Frames of the clip that are not near to speech: where each is, in samples of the clip."""
    silent = np.ones(clip.samples.size // HOP_LENGTH, bool)
    for span in clip.speech:
        first = _offset(clip, span) // HOP_LENGTH
        silent[max(0, first - _MARGIN_FRAMES) : first + span.length // HOP_LENGTH + 1 + _MARGIN_FRAMES] = False
    return np.flatnonzero(silent) * HOP_LENGTH + HOP_LENGTH // 2


def cut_excerpts(n_frames: int) -> list[tuple[int, int]]:
    """Excerpts that cover so many frames: first frame and the one after the last; they overlap by a quarter or more."""
    if n_frames <= EXCERPT_FRAMES + _SLACK_FRAMES:
        return [(0, n_frames)]
    count = 1 + -(-(n_frames - EXCERPT_FRAMES) // _HOP_FRAMES)
    starts = np.rint(np.linspace(0, n_frames - EXCERPT_FRAMES, count)).astype(int).tolist()
    return [(start, start + EXCERPT_FRAMES) for start in starts]


def _short(speech: Iterable[Span]) -> Iterator[Span]:
    for span in speech:
        for start in range(span.start, span.end, _MAX_STRETCH):
            yield Span(start=start, end=min(start + _MAX_STRETCH, span.end))


def _stretch(clip: Clip, speech: list[Span]) -> Stretch:
    centres: list[NDArray[np.int64]] = []
    units: list[tuple[int, int, Span]] = []
    n_frames = 0
    for span in speech:
        offset = _offset(clip, span)
        count = max(1, span.length // HOP_LENGTH)
        centres.append(offset + HOP_LENGTH // 2 + HOP_LENGTH * np.arange(count))
        n_units = -(-count // _UNIT_FRAMES)
        cuts = [index * count // n_units for index in range(n_units + 1)]
        for first, last in pairwise(cuts):
            start = span.start + first * HOP_LENGTH
            end = span.end if last == count else span.start + last * HOP_LENGTH
            units.append((n_frames + first, n_frames + last, Span(start=start, end=end)))
        n_frames += count
    return Stretch(centres=np.concatenate(centres), units=tuple(units))


def _offset(clip: Clip, span: Span) -> int:
    """Where the span begins in the clip's samples."""
    return sum(max(0, min(span.start, piece.end) - piece.start) for piece in clip.pieces)
