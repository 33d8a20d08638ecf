"""Turns and words put together: who said which word, and segments that have one speaker each."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby, pairwise
from typing import TypeVar

from auricle.speaker_types import Turn
from auricle.types import Segment, Word

T = TypeVar("T")

TokenBytes = Callable[[int], bytes]
"""The text of a token; nothing of one that is no text."""

FIRST_SPEAKER = "A"
"""Who speaks where text was found, but no turn: somebody did."""


def assign_speakers(segments: Sequence[Segment], turns: Sequence[Turn], token_bytes: TokenBytes) -> list[Segment]:
    """The segments with speakers, cut where the speaker changes and numbered anew.

    A word belongs to whoever speaks most of it, or next to it. Text, words, tokens and log-probabilities stay what they
    are and in order. A segment whose words do not make up its text, or that has none, stays whole.
    """
    timeline = _Timeline(turns)
    pieces = [piece for segment in segments for piece in _split(segment, timeline, token_bytes)]
    return [replace(piece, id=number) for number, piece in enumerate(pieces)]


class _Timeline:
    """Turns, to be asked who speaks when."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = sorted(turns, key=lambda turn: (turn.start, turn.end))
        self._starts = [turn.start for turn in self._turns]
        self._latest: list[Turn] = []
        """For each turn the one that ends last, of it and those before it."""
        for turn in self._turns:
            latest = self._latest[-1] if self._latest else turn
            self._latest.append(turn if turn.end > latest.end else latest)

    def speaker(self, start: float, end: float) -> str:
        """Who speaks most from ``start`` to ``end``, or next to it."""
        first = bisect_right(self._latest, start, key=lambda turn: turn.end)
        last = max(first, bisect_left(self._starts, end))
        near = self._turns[first:last]
        shares: dict[str, float] = defaultdict(float)
        for turn in near:
            shares[turn.speaker] += max(0.0, min(turn.end, end) - max(turn.start, start))
        if any(shares.values()):
            return max(shares, key=lambda speaker: shares[speaker])
        around = [*self._latest[first - 1 : first], *near, *self._turns[last : last + 1]]
        nearest = min(around, key=lambda turn: max(turn.start - end, start - turn.end), default=None)
        return FIRST_SPEAKER if nearest is None else nearest.speaker


def _split(segment: Segment, timeline: _Timeline, token_bytes: TokenBytes) -> list[Segment]:
    if segment.words is None:
        return [replace(segment, speaker=timeline.speaker(segment.start, segment.end))]
    words = tuple(replace(word, speaker=timeline.speaker(word.start, word.end)) for word in segment.words)
    runs = [tuple(run) for _, run in groupby(words, key=lambda word: word.speaker)]
    if len(runs) == 1:
        return [replace(segment, speaker=words[0].speaker, words=words)]
    texts = _cut_text(segment.text, runs)
    if not texts:
        return [replace(segment, speaker=timeline.speaker(segment.start, segment.end), words=words)]
    seams = [0]
    for text in texts[:-1]:
        seams.append(seams[-1] + len(text.encode()))
    tokens = _deal(segment.tokens, [len(token_bytes(token)) for token in segment.tokens], seams)
    logprobs = segment.logprobs or ()
    dealt = _deal(logprobs, [len(entry.bytes) for entry in logprobs], seams)
    times = _times(segment, runs)
    return [
        replace(
            segment,
            start=times[number][0],
            end=times[number][1],
            text=texts[number],
            tokens=tuple(tokens[number]),
            speaker=run[0].speaker,
            words=run,
            logprobs=None if segment.logprobs is None else tuple(dealt[number]),
        )
        for number, run in enumerate(runs)
    ]


def _cut_text(text: str, runs: Sequence[Sequence[Word]]) -> list[str]:
    """The text of each run, together all of it; none where the words do not make it up."""
    cuts: list[int] = []
    position = 0
    for run in runs:
        cuts.append(position)
        for word in run:
            letters = word.word.strip()
            found = text.find(letters, position)
            if found < 0 or text[position:found].strip():
                return []
            position = found + len(letters)
    if text[position:].strip():
        return []
    return [text[start:end] for start, end in pairwise([*cuts, len(text)])]


def _deal(things: Iterable[T], sizes: Iterable[int], seams: Sequence[int]) -> list[list[T]]:
    """Things that follow one another, each with the part in which it begins; parts begin at ``seams``."""
    parts: list[list[T]] = [[] for _ in seams]
    position = 0
    for thing, size in zip(things, sizes, strict=True):
        parts[bisect_right(seams, position) - 1].append(thing)
        position += size
    return parts


def _times(segment: Segment, runs: Sequence[Sequence[Word]]) -> list[tuple[float, float]]:
    """Start and end of each run: those of its words, at the segment's ends those of the segment."""
    times: list[tuple[float, float]] = []
    floor = segment.start
    for number, run in enumerate(runs):
        start = floor if number == 0 else min(max(run[0].start, floor), segment.end)
        end = segment.end if number == len(runs) - 1 else min(max(run[-1].end, start), segment.end)
        times.append((start, end))
        floor = end
    return times
