"""Clipper: clips cover all speech once, fit, and do not depend on how the audio arrived."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.types import Clip, Samples, Span, VadOptions
from auricle.windows.clips import Clipper
from auricle.windows.vad import SpeechDetector
from speech import FRAME, block_sizes, blocks, classify, long_patterns, patterns, synthesize

OPTIONS = VadOptions()
some_options = st.builds(
    VadOptions,
    max_clip_s=st.sampled_from([5.0, 10.0, 28.0, 30.0]),
    max_silence_s=st.sampled_from([0.0, 0.5, 1.0]),
    speech_pad_ms=st.sampled_from([0, 30, 300, 600]),
    min_silence_duration_ms=st.sampled_from([0, 160, 1_000]),
)
pattern_kinds = patterns | long_patterns


def clip(samples: Samples, options: VadOptions = OPTIONS, sizes: list[int] | None = None) -> list[Clip]:
    clipper = Clipper(options, SpeechDetector(options, classify))
    parts = blocks(samples, sizes) if sizes else [samples]
    clips = [clip for part in parts for clip in clipper.feed(part)]
    return clips + clipper.finish()


def detect(samples: Samples, options: VadOptions = OPTIONS) -> list[Span]:
    detector = SpeechDetector(options, classify)
    return detector.feed(samples) + detector.finish()


def mask(spans: list[Span], length: int) -> np.ndarray:
    counts = np.zeros(length, int)
    for span in spans:
        counts[span.start : span.end] += 1
    return counts


def pieces(clips: list[Clip]) -> list[Span]:
    return [piece for clip in clips for piece in clip.pieces]


@settings(max_examples=60, deadline=None)
@given(pattern=pattern_kinds, tail=st.integers(0, 40_000), options=some_options)
def test_clips_cover_all_speech_once_in_order_and_fit(
    pattern: list[tuple[int, int]], tail: int, options: VadOptions
) -> None:
    samples = synthesize(pattern, tail)
    clips = clip(samples, options)
    speech = [span for one in clips for span in one.speech]
    assert np.array_equal(mask(speech, samples.size), mask(detect(samples, options), samples.size))
    assert [one.index for one in clips] == list(range(len(clips)))
    assert all(a.end <= b.start for a, b in pairwise(pieces(clips)))
    assert all(0 <= piece.start < piece.end <= samples.size for piece in pieces(clips))
    for one in clips:
        assert 0 < one.samples.size <= options.max_clip_s * 16_000
        assert np.array_equal(one.samples, np.concatenate([samples[p.start : p.end] for p in one.pieces]))
        assert all(any(p.start <= s.start and s.end <= p.end for p in one.pieces) for s in one.speech)
        assert all(s.length > 0 for s in one.speech)


@settings(max_examples=50, deadline=None)
@given(pattern=pattern_kinds, tail=st.integers(0, 40_000), options=some_options, sizes=block_sizes)
def test_the_size_of_the_blocks_makes_no_difference(
    pattern: list[tuple[int, int]], tail: int, options: VadOptions, sizes: list[int]
) -> None:
    samples = synthesize(pattern, tail)
    for whole, parts in zip(clip(samples, options), clip(samples, options, sizes), strict=True):
        assert whole.pieces == parts.pieces
        assert whole.speech == parts.speech
        assert np.array_equal(whole.samples, parts.samples)


@settings(max_examples=50, deadline=None)
@given(pattern=pattern_kinds, shift=st.integers(0, 200))
def test_a_shift_of_the_file_shifts_the_clips(pattern: list[tuple[int, int]], shift: int) -> None:
    # A second of silence first, so that the padding has room in both.
    samples = np.concatenate([np.zeros(32 * FRAME, np.float32), synthesize(pattern)])
    shifted = np.concatenate([np.zeros(shift * FRAME, np.float32), samples])
    for one, other in zip(clip(samples), clip(shifted), strict=True):
        for spans, moved in ((one.pieces, other.pieces), (one.speech, other.speech)):
            assert [(s.start + shift * FRAME, s.end + shift * FRAME) for s in spans] == [
                (s.start, s.end) for s in moved
            ]


@settings(max_examples=50, deadline=None)
@given(pattern=pattern_kinds, options=some_options)
def test_no_two_neighbouring_clips_would_fit_into_one_but_where_speech_was_cut(
    pattern: list[tuple[int, int]], options: VadOptions
) -> None:
    for one, following in pairwise(clip(synthesize(pattern), options)):
        is_cut = one.speech[-1].end == following.speech[0].start
        # What the next clip begins with did not fit, so both together are longer than a clip.
        gap = following.speech[0].start - one.speech[-1].end
        pad = options.speech_pad_ms * 16
        kept = min(gap, max(options.max_silence_s * 16_000, 2 * pad))
        used = sum(p.length for p in one.pieces) - (one.pieces[-1].end - one.speech[-1].end)
        assert is_cut or used + kept + following.speech[0].length + pad > options.max_clip_s * 16_000
        assert used + kept >= options.max_clip_s * 16_000 * 2 / 3 - 1 or is_cut


def test_silence_up_to_a_second_is_kept_and_of_a_longer_one_half_a_second_at_each_side() -> None:
    samples = synthesize([(40, 40), (30, 40), (90, 40)], tail=16_000)
    (one,) = clip(samples)
    first, second, third = one.speech
    half = 8_000
    assert one.pieces == (
        Span(start=first.start - 4_800, end=second.end + half),
        Span(start=third.start - half, end=third.end + 4_800),
    )


def test_padding_ends_where_the_file_does() -> None:
    (one,) = clip(synthesize([(2, 40)], tail=100))
    assert one.pieces == (Span(start=0, end=42 * FRAME + 100),)


def test_padding_of_neighbouring_clips_meets_in_the_middle() -> None:
    one, two = clip(synthesize([(40, 700), (8, 700)], tail=16_000))
    assert one.end == two.start == 40 * FRAME + 700 * FRAME + 4 * FRAME


def test_speech_without_a_pause_is_cut_at_its_quietest_point_in_the_last_third() -> None:
    samples = synthesize([(0, 2_000)])
    quiet = 700 * FRAME
    samples[quiet : quiet + 3 * FRAME] *= 0.3
    first, second, *_ = clip(samples)
    assert first.end == second.start == pytest.approx(quiet + 1.5 * FRAME, abs=FRAME)


def test_a_short_clip_is_not_ended_early_by_long_speech() -> None:
    """Two windows, not three: the clip at hand is filled up with a part of the long speech."""
    assert len(clip(synthesize([(10, 100), (20, 800), (20, 300)]))) == 2


def test_nothing_said_gives_no_clips() -> None:
    assert clip(np.zeros(480_000, np.float32)) == []
    assert clip(np.zeros(0, np.float32)) == []


def test_clips_come_while_the_audio_is_still_being_read() -> None:
    samples = synthesize([(20, 300)] * 6)
    clipper = Clipper(OPTIONS, SpeechDetector(OPTIONS, classify))
    early = [one for part in blocks(samples, [16_000]) for one in clipper.feed(part)]
    assert len(early) == len(clip(samples)) - 1 >= 1


@pytest.mark.parametrize("pattern", [[(1_700, 100)], [(0, 3_000)], [(20, 60)] * 40], ids=["pauses", "no pause", "talk"])
def test_memory_does_not_grow_over_hours(pattern: list[tuple[int, int]]) -> None:
    block = synthesize(pattern)[: 60 * 16_000]
    clipper = Clipper(OPTIONS, SpeechDetector(OPTIONS, classify))
    tracemalloc.start()
    n_clips, peaks = 0, []
    for _ in range(3):
        for _ in range(10):
            n_clips += len(clipper.feed(block.copy()))
        peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert n_clips > 0
    assert peaks[-1] < 1.1 * peaks[0] + 100_000
