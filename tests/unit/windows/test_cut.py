"""Windows hold the clip's samples and know where each of them was in the file."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.types import Clip, Span
from auricle.windows.cut import cut_window, plain_window


@st.composite
def clips(draw: st.DrawFn) -> tuple[Clip, np.ndarray]:
    """A clip of a file in which each sample's value is its position, and those positions."""
    spans: list[Span] = []
    position = 0
    for gap, length in draw(
        st.lists(st.tuples(st.integers(1, 5_000), st.integers(1, 200_000)), min_size=1, max_size=6)
    ):
        spans.append(Span(start=position + gap, end=position + gap + length))
        position = spans[-1].end
    speech = tuple(Span(start=s.start + s.length // 4, end=s.end - s.length // 4) for s in spans if s.length >= 4)
    file_positions = np.concatenate([np.arange(s.start, s.end) for s in spans])
    # float32 is exact up to 16 million.
    samples = file_positions.astype(np.float32)
    return Clip(index=3, pieces=tuple(spans), speech=speech, samples=samples), file_positions


@settings(max_examples=100, deadline=None)
@given(made=clips(), where=st.floats(0, 1))
def test_each_sample_of_a_window_knows_its_place_in_the_file(made: tuple[Clip, np.ndarray], where: float) -> None:
    clip, file_positions = made
    position = int(where * clip.samples.size)
    window = cut_window(clip, position)
    n = window.samples.size
    assert n == min(480_000, clip.samples.size - position)
    assert sum(piece.length for piece in window.pieces) == n
    assert np.array_equal(window.samples, file_positions[position : position + n].astype(np.float32))
    for offset in {0, n // 3, n // 2, n - 1} & set(range(n)):
        assert window.to_file(offset) == file_positions[position + offset]
        assert window.to_file(offset + 1, is_end=True) == file_positions[position + offset] + 1
    assert window.to_file(n) == window.pieces[-1].end
    assert window.clip_index == 3


@settings(max_examples=100, deadline=None)
@given(made=clips(), where=st.floats(0, 1))
def test_neighbours_are_the_200_samples_around_it(made: tuple[Clip, np.ndarray], where: float) -> None:
    clip, _ = made
    position = int(where * clip.samples.size)
    window = cut_window(clip, position)
    end = position + window.samples.size
    assert np.array_equal(window.before, clip.samples[max(0, position - 200) : position])
    assert np.array_equal(window.after, clip.samples[end : end + 200])


@settings(max_examples=100, deadline=None)
@given(made=clips(), where=st.floats(0, 1))
def test_the_speech_of_a_window_is_that_of_the_clip_inside_it(made: tuple[Clip, np.ndarray], where: float) -> None:
    clip, file_positions = made
    position = int(where * clip.samples.size)
    window = cut_window(clip, position)
    inside = file_positions[position : position + window.samples.size]
    expected = sum(int(((inside >= s.start) & (inside < s.end)).sum()) for s in clip.speech)
    assert sum(span.length for span in window.speech) == expected
    assert all(any(p.start <= s.start and s.end <= p.end for p in window.pieces) for s in window.speech)


def test_windows_one_after_the_other_cover_the_clip() -> None:
    samples = np.arange(1_000_000, dtype=np.float32)
    clip = Clip(index=0, pieces=(Span(start=50, end=1_000_050),), speech=(), samples=samples)
    starts = [cut_window(clip, position).start for position in (0, 480_000, 960_000)]
    assert starts == [50, 480_050, 960_050]
    assert cut_window(clip, 960_000).samples.size == 40_000


def test_the_window_at_the_end_of_a_clip_is_empty_and_has_a_place() -> None:
    clip = Clip(index=0, pieces=(Span(start=5, end=25),), speech=(), samples=np.zeros(20, np.float32))
    window = cut_window(clip, 20)
    assert window.samples.size == 0
    assert window.start == 25


def test_samples_of_a_window_are_a_view() -> None:
    clip = Clip(index=0, pieces=(Span(start=0, end=900_000),), speech=(), samples=np.zeros(900_000, np.float32))
    assert np.shares_memory(cut_window(clip, 100).samples, clip.samples)


@pytest.mark.parametrize("around", [0, 150, 5_000])
def test_a_plain_window_is_one_piece_of_speech(around: int) -> None:
    side = np.arange(around, dtype=np.float32)
    window = plain_window(np.zeros(1_000, np.float32), start=70, before=side, after=side, clip_index=2)
    assert window.pieces == window.speech == (Span(start=70, end=1_070),)
    assert window.before.size == window.after.size == min(around, 200)
    assert np.array_equal(window.before, side[-200:])
    assert np.array_equal(window.after, side[:200])
    assert window.to_file(30) == 100
    assert window.clip_index == 2
