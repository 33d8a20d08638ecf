"""Where is speech? Spans of it, found while the audio is still being read."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from auricle.errors import InvalidOption
from auricle.types import Samples, Span, VadOptions
from auricle.units import SAMPLE_RATE
from auricle.windows.silero import CONTEXT_SAMPLES, FRAME_SAMPLES, Silero

Classify = Callable[[Samples], NDArray[np.float32]]
"""Frames (n, 576) in the order of the file -> probability of speech of each (n,); keeps state between calls."""

# Neighbouring frames over which quietness is averaged: a gap between words lasts about 100 ms.
_QUIET_FRAMES = 3


class SpeechDetector:
    """Speech of one file, fed in blocks of any size; the size makes no difference to the spans.

    The rules are those of ``get_speech_timestamps`` of Silero VAD: speech begins with a frame of at least
    ``threshold`` and ends where frames stay below ``neg_threshold`` for ``min_silence_duration_ms``; what is not longer
    than ``min_speech_duration_ms`` is no speech. Spans are not padded. For one thread.
    """

    def __init__(self, options: VadOptions, classify: Classify | None = None) -> None:
        """``classify`` tells the probability of frames; Silero VAD by default."""
        check_vad_options(options)
        neg_threshold = options.neg_threshold
        self._threshold = options.threshold
        self._neg_threshold = max(options.threshold - 0.15, 0.01) if neg_threshold is None else neg_threshold
        self._min_speech = options.min_speech_duration_ms * SAMPLE_RATE // 1000
        self._min_silence = options.min_silence_duration_ms * SAMPLE_RATE // 1000
        self._classify = Silero() if classify is None else classify
        self._unread = np.zeros(CONTEXT_SAMPLES, np.float32)
        """The last frame's end, then samples that do not fill a frame yet."""
        self._next_frame = 0
        self._loudness: list[float] = []
        """Of the frames up to the newest, without those forgotten."""
        self._start: int | None = None
        """Of the speech that goes on."""
        self._silent_from: int | None = None
        """Where that speech seems to have ended."""
        self.position = 0
        """Samples seen so far."""

    @property
    def settled(self) -> int:
        """Spans still to come begin here or later."""
        return self._next_frame * FRAME_SAMPLES if self._start is None else self._start

    @property
    def pending(self) -> Span | None:
        """Speech that has not ended yet, as far as it is certain to be part of a span to come."""
        if self._start is None:
            return None
        end = self._next_frame * FRAME_SAMPLES if self._silent_from is None else self._silent_from
        return Span(start=self._start, end=end) if end - self._start > self._min_speech else None

    def feed(self, samples: Samples) -> list[Span]:
        """Spans of speech, in samples of the file, that are final with these samples."""
        self.position += samples.size
        self._unread = np.concatenate([self._unread, samples])
        n_frames = (self._unread.size - CONTEXT_SAMPLES) // FRAME_SAMPLES
        if n_frames == 0:
            return []
        length = CONTEXT_SAMPLES + FRAME_SAMPLES
        frames = np.lib.stride_tricks.sliding_window_view(self._unread, length)[::FRAME_SAMPLES]
        self._unread = self._unread[n_frames * FRAME_SAMPLES :].copy()
        probabilities = self._classify(frames)
        rms = np.sqrt(np.einsum("ij,ij->i", frames, frames) / length)
        self._loudness.extend((probabilities * rms).tolist())
        return [span for probability in probabilities.tolist() if (span := self._advance(probability)) is not None]

    def finish(self) -> list[Span]:
        """The spans that are left; nothing may be fed any more."""
        position = self.position
        missing = -(self._unread.size - CONTEXT_SAMPLES) % FRAME_SAMPLES
        spans = self.feed(np.zeros(missing, np.float32)) if missing else []
        self.position = position
        if self._start is not None and position - self._start > self._min_speech:
            spans.append(Span(start=self._start, end=position))
        self._start = self._silent_from = None
        return spans

    def quietest(self, within: Span) -> int:
        """The sample where a cut does the least harm: the middle of the frames least loud and least like speech."""
        first_kept = self._next_frame - len(self._loudness)
        first = -(-within.start // FRAME_SAMPLES)
        loudness = np.array(self._loudness[first - first_kept : within.end // FRAME_SAMPLES - first_kept])
        if loudness.size < _QUIET_FRAMES:
            return within.end
        smooth = np.convolve(loudness, np.full(_QUIET_FRAMES, 1 / _QUIET_FRAMES), mode="valid")
        latest_best = smooth.size - 1 - int(np.argmin(smooth[::-1]))
        return (first + latest_best) * FRAME_SAMPLES + _QUIET_FRAMES * FRAME_SAMPLES // 2

    def forget(self, before: int) -> None:
        """``quietest`` will not be asked about samples before this one."""
        first_kept = self._next_frame - len(self._loudness)
        del self._loudness[: max(0, before // FRAME_SAMPLES - first_kept)]

    def _advance(self, probability: float) -> Span | None:
        """The next frame; a span where it ends one."""
        here = self._next_frame * FRAME_SAMPLES
        self._next_frame += 1
        if probability >= self._threshold:
            self._silent_from = None
            if self._start is None:
                self._start = here
        elif probability < self._neg_threshold and self._start is not None:
            if self._silent_from is None:
                self._silent_from = here
            if here - self._silent_from >= self._min_silence:
                span = Span(start=self._start, end=self._silent_from)
                self._start = self._silent_from = None
                return span if span.length > self._min_speech else None
        return None


def speech_probabilities(samples: Samples) -> NDArray[np.float32]:
    """Probability of speech in each frame of 512 samples; the last frame is filled up with zeros."""
    missing = -samples.size % FRAME_SAMPLES
    padded = np.concatenate([np.zeros(CONTEXT_SAMPLES, np.float32), samples, np.zeros(missing, np.float32)])
    if padded.size == CONTEXT_SAMPLES:
        return np.zeros(0, np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT_SAMPLES + FRAME_SAMPLES)[::FRAME_SAMPLES]
    return Silero()(frames)


def check_vad_options(options: VadOptions) -> None:
    """Raises InvalidOption where a value makes no sense; ``param`` is the option's name."""
    o = options
    limits: list[tuple[str, float | None, float, float]] = [
        ("threshold", o.threshold, 0.01, 1.0),
        ("neg_threshold", o.neg_threshold, 0.0, o.threshold),
        ("min_speech_duration_ms", o.min_speech_duration_ms, 0, 10_000),
        ("min_silence_duration_ms", o.min_silence_duration_ms, 0, 10_000),
        ("max_clip_s", o.max_clip_s, 5.0, 30.0),
        ("max_silence_s", o.max_silence_s, 0.0, o.max_clip_s / 4),
        ("speech_pad_ms", o.speech_pad_ms, 0, o.max_clip_s * 1000 / 8),
    ]
    for name, value, lowest, highest in limits:
        if value is not None and not lowest <= value <= highest:
            raise InvalidOption(f"{name} is {value:g}; it must be {lowest:g} to {highest:g}", param=name)
