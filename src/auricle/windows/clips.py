"""Packs speech into clips: few, so that few windows are encoded, and never longer than one window."""

import numpy as np

from auricle.types import Clip, Samples, Span, VadOptions
from auricle.units import SAMPLE_RATE, seconds_to_samples
from auricle.windows.vad import SpeechDetector

# Speech that runs on is cut in the last third of a clip, at least half a second before it ends or the clip is full:
# what is left must be worth a clip.
_FULL = 2 / 3
_REST = SAMPLE_RATE // 2


class Clipper:
    """Samples in, clips of speech out, as soon as each is complete; the size of the blocks makes no difference.

    A clip takes speech as long as it fits into ``max_clip_s``. Speech is padded by ``speech_pad_ms`` at the clip's
    ends; silence inside is kept up to ``max_silence_s`` (never less than the padding), and of a longer one the half of
    that at each side. Where the next speech does not fit, the clip ends, if it is two thirds full; else that speech is
    cut at its quietest point. Only the audio of the clip at hand is held. For one thread.
    """

    def __init__(self, options: VadOptions, detector: SpeechDetector | None = None) -> None:
        """``detector`` finds the speech; Silero VAD with ``options`` by default. Raises InvalidOption."""
        self._detector = SpeechDetector(options) if detector is None else detector
        self._pad = options.speech_pad_ms * SAMPLE_RATE // 1000
        self._half_silence = max(seconds_to_samples(options.max_silence_s) // 2, self._pad)
        longest = seconds_to_samples(options.max_clip_s)
        self._full = int(longest * _FULL)
        self._limit = longest - self._pad
        """Speech of a clip ends before this, so that its padding fits."""
        self._tape = _Tape()
        self._index = 0
        self._floor = 0
        """End of the previous clip."""
        self._pieces: list[Span] = []
        self._parts: list[Samples] = []
        """Samples of each of the pieces."""
        self._piece_start: int | None = None
        """Start of the piece whose end is open: it goes on at least to the last speech's end."""
        self._speech: list[Span] = []

    @property
    def position(self) -> int:
        """Samples seen so far; the length of the file after ``finish``."""
        return self._detector.position

    def feed(self, samples: Samples) -> list[Clip]:
        """Clips that are complete with these samples, in order."""
        self._tape.append(samples)
        clips = [clip for span in self._detector.feed(samples) for clip in self._take(span, has_ended=True)]
        if (pending := self._detector.pending) is not None:
            clips += self._take(pending, has_ended=False)
        settled = self._detector.settled
        self._close_piece_before(settled)
        needed = max(settled - self._half_silence, self._floor) if self._piece_start is None else self._piece_start
        self._tape.forget(needed)
        self._detector.forget(needed)
        return clips

    def finish(self) -> list[Clip]:
        """The clips that are left; nothing may be fed any more."""
        clips = [clip for span in self._detector.finish() for clip in self._take(span, has_ended=True)]
        if self._speech:
            clips.append(self._emit(min(self._speech[-1].end + self._pad, self.position)))
        return clips

    def _take(self, speech: Span, *, has_ended: bool) -> list[Clip]:
        """Speech joins the clip, or makes it complete. Speech that goes on is only looked at while it fits."""
        clips: list[Clip] = []
        speech = Span(start=max(speech.start, self._floor), end=speech.end)
        while True:
            self._close_piece_before(speech.start)
            used = self._length_until(speech.start)
            room = self._limit - used
            if speech.length <= room:
                if has_ended:
                    self._join(speech)
                return clips
            if used >= self._full:
                last = self._speech[-1].end
                clips.append(self._emit(min(last + self._pad, (last + speech.start) // 2)))
                continue
            earliest, latest = speech.start + self._full - used, speech.start + room - _REST
            cut = self._detector.quietest(Span(start=earliest, end=latest))
            self._join(Span(start=speech.start, end=cut))
            clips.append(self._emit(cut))
            speech = Span(start=cut, end=speech.end)

    def _length_until(self, start: int) -> int:
        """Length of the clip if speech from ``start`` joined it, up to that speech."""
        return sum(piece.length for piece in self._pieces) + start - self._lead(start)

    def _lead(self, start: int) -> int:
        """Where the piece that holds speech from ``start`` begins."""
        if self._piece_start is not None:
            return self._piece_start
        return max(self._floor, start - (self._half_silence if self._speech else self._pad))

    def _join(self, speech: Span) -> None:
        self._piece_start = self._lead(speech.start)
        self._speech.append(speech)

    def _close_piece_before(self, start: int) -> None:
        """Ends the open piece if no speech comes before ``start``, and that is too far away."""
        if self._piece_start is not None and start - self._speech[-1].end > 2 * self._half_silence:
            self._close_piece(self._speech[-1].end + self._half_silence)

    def _close_piece(self, end: int) -> None:
        if self._piece_start is not None:
            piece = Span(start=self._piece_start, end=end)
            self._pieces.append(piece)
            self._parts.append(self._tape.read(piece))
            self._piece_start = None

    def _emit(self, end: int) -> Clip:
        """The clip, up to ``end``; the next one begins after it."""
        self._close_piece(end)
        last = Span(start=self._pieces[-1].start, end=end)
        pieces = (*self._pieces[:-1], last)
        samples = np.concatenate([*self._parts[:-1], self._parts[-1][: last.length]])
        clip = Clip(index=self._index, pieces=pieces, speech=tuple(self._speech), samples=samples)
        self._index += 1
        self._floor = end
        self._pieces, self._parts, self._speech = [], [], []
        return clip


class _Tape:
    """The newest samples of the file."""

    def __init__(self) -> None:
        self._start = 0
        self._blocks: list[Samples] = []

    def append(self, samples: Samples) -> None:
        self._blocks.append(samples)

    def forget(self, before: int) -> None:
        while self._blocks and self._start + self._blocks[0].size <= before:
            self._start += self._blocks.pop(0).size

    def read(self, span: Span) -> Samples:
        """A copy of the samples of ``span``, so that the blocks can go."""
        parts: list[Samples] = []
        position = self._start
        for block in self._blocks:
            parts.append(block[max(0, span.start - position) : max(0, span.end - position)])
            position += block.size
        return np.concatenate(parts)
