"""Excerpts and units: all speech, nothing but speech, at the right place of the file."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.speakers.excerpts import cut_excerpts, find_silence, find_stretches
from auricle.types import Clip, Span

FRAME = 160


def make_clip(pieces: list[tuple[int, int]], speech: list[tuple[int, int]]) -> Clip:
    """A clip of these ranges of frames; each sample is its place in the file."""
    spans = tuple(Span(start=start * FRAME, end=end * FRAME) for start, end in pieces)
    samples = np.concatenate([np.arange(span.start, span.end) for span in spans]).astype(np.float32)
    spoken = tuple(Span(start=start * FRAME, end=end * FRAME) for start, end in speech)
    return Clip(index=0, pieces=spans, speech=spoken, samples=samples)


@given(st.integers(1, 3000))
def test_excerpts_cover_all_frames_and_overlap(n_frames: int) -> None:
    excerpts = cut_excerpts(n_frames)
    assert excerpts[0][0] == 0
    assert excerpts[-1][1] == n_frames
    assert all(later[0] <= earlier[1] for earlier, later in pairwise(excerpts))
    assert all(last - first <= 200 for first, last in excerpts)
    assert len(excerpts) == 1 or all(last - first == 160 for first, last in excerpts)


def test_frames_are_those_of_the_speech() -> None:
    clip = make_clip([(100, 400), (900, 1300)], [(120, 200), (210, 380), (950, 1200)])
    first, second = find_stretches(clip)
    inside = np.concatenate([clip.samples[s.centres] for s in (first, second)]) / FRAME - 0.5
    assert inside.tolist() == [*range(120, 200), *range(210, 380), *range(950, 1200)]


def test_a_long_pause_ends_a_stretch() -> None:
    clip = make_clip([(0, 1000)], [(10, 100), (120, 200), (260, 400)])
    assert [s.centres.size for s in find_stretches(clip)] == [170, 140]


def test_units_are_short_and_cover_the_speech() -> None:
    clip = make_clip([(0, 1000)], [(10, 45), (50, 171), (300, 900)])
    for stretch in find_stretches(clip):
        frames = [frame for first, last, _ in stretch.units for frame in range(first, last)]
        assert frames == list(range(stretch.centres.size))
        for first, last, span in stretch.units:
            assert 0 < last - first <= 40
            assert span.length == (last - first) * FRAME
            assert clip.samples[stretch.centres[first]] == span.start + FRAME // 2


@pytest.mark.parametrize("length", [1, 159, 161, 500])
def test_speech_shorter_than_a_frame_or_between_frames_is_kept(length: int) -> None:
    clip = Clip(
        index=0,
        pieces=(Span(start=0, end=4000),),
        speech=(Span(start=100, end=100 + length),),
        samples=np.zeros(4000, np.float32),
    )
    (stretch,) = find_stretches(clip)
    assert stretch.units[-1][2].end == 100 + length
    assert stretch.centres.size >= 1


def test_hours_of_speech_are_cut_into_stretches_that_can_be_held() -> None:
    clip = make_clip([(0, 20_000)], [(0, 9_999), (10_005, 10_400), (10_410, 19_000)])
    stretches = list(find_stretches(clip))
    assert max(s.centres.size for s in stretches) <= 3_000
    assert sum(s.centres.size for s in stretches) == 9_999 + 395 + 8_590


def test_silence_is_what_is_not_near_to_speech() -> None:
    clip = make_clip([(0, 300), (600, 1000)], [(50, 100), (650, 900)])
    silent = (clip.samples[find_silence(clip)] / FRAME - 0.5).tolist()
    assert silent == [*range(45), *range(106, 300), *range(600, 645), *range(906, 1000)]
