"""The diarization that the package brings along: nothing to download, on the CPU, beside the transcription."""

from itertools import count
from string import ascii_uppercase

import numpy as np
from numpy.typing import NDArray

from auricle.speaker_types import Diarization, Turn
from auricle.speakers.base import Voices
from auricle.speakers.clustering import Weights, find_speakers, least_speech
from auricle.speakers.embedding import EXCERPTS_AT_ONCE, Excerpt, Power, embed, mean_voice, power_spectra
from auricle.speakers.excerpts import cut_excerpts, find_silence, find_stretches
from auricle.speakers.known import name_speakers
from auricle.speakers.noise import noise_spectrum, subtract_noise
from auricle.speakers.resegment import assign, unit_scores
from auricle.types import Clip, Span
from auricle.units import FRAME_RATE, samples_to_seconds, seconds_to_samples

# Pauses of a speaker inside a turn are shorter.
_MAX_PAUSE = seconds_to_samples(0.5)
# Voices of less speech say too little to find speakers with, as long as there are better ones.
_MIN_EXCERPT_FRAMES = 100
_HALF = 80
"""The network is asked for the voice at half of an excerpt, too, if it is as long as that by far."""


class LocalDiarizer:
    """Who spoke when in one file; see ``Diarizer``.

    Keeps 2 KB for each second of speech: its vectors. All else is bounded, however long the file.
    """

    def __init__(self) -> None:
        self._waiting: list[Excerpt] = []
        self._voices: list[Voices] = []
        self._reads: list[tuple[int, int]] = []
        """Frames of speech behind each voice, also of those that wait."""
        self._whole: list[bool] = []
        """Whether the voice is that of a whole excerpt."""
        self._units: list[tuple[int, int]] = []
        self._spans: list[Span] = []
        """Where the units are in the file."""
        self._n_frames = 0
        self._noise: Power | None = None

    def feed(self, clip: Clip) -> None:
        # A clip without silence has the noise of the one before.
        noise = noise_spectrum(clip.samples, find_silence(clip))
        self._noise = self._noise if noise is None else noise
        for stretch in find_stretches(clip):
            power = subtract_noise(power_spectra(clip.samples, stretch.centres), self._noise)
            for first, last in cut_excerpts(len(power)):
                length = last - first
                reads = (length,) if length < _HALF + _HALF // 2 else (_HALF, length)
                self._waiting.append(Excerpt(power=power[first:last], reads=reads))
                start = self._n_frames + first
                self._reads += [(start, start + read) for read in reads]
                self._whole += [read == length for read in reads]
            for first, last, span in stretch.units:
                self._units.append((self._n_frames + first, self._n_frames + last))
                self._spans.append(span)
            self._n_frames += len(power)
            if len(self._waiting) >= EXCERPTS_AT_ONCE:
                self._embed()

    def finish(self, asked: Diarization) -> list[Turn]:
        self._embed()
        if not self._spans:
            return []
        at_least = asked.num_speakers or asked.min_speakers or 1
        at_most = asked.num_speakers or asked.max_speakers
        voices, reads, units = np.concatenate(self._voices), np.array(self._reads), np.array(self._units)
        speakers = self._find_speakers(voices, reads, at_least, at_most)
        while True:
            path = assign(unit_scores(reads, voices @ speakers.T, units), self._spans)
            weakest = self._weakest(path, len(speakers)) if len(speakers) > at_least else None
            if weakest is None:
                break
            speakers = np.delete(speakers, weakest, axis=0)
        names = self._names(path, voices, reads, asked)
        return make_turns(self._spans, [names[speaker] for speaker in path.tolist()])

    def _embed(self) -> None:
        self._voices.append(embed(self._waiting))
        self._waiting = []

    def _weakest(self, path: NDArray[np.int64], n_speakers: int) -> int | None:
        """A speaker of so little speech that it is rather what was between two others; the least of such."""
        seconds = np.bincount(path, [samples_to_seconds(span.length) for span in self._spans], n_speakers)
        least = int(seconds.argmin())
        return least if seconds[least] < least_speech(float(seconds.sum())) else None

    def _find_speakers(self, voices: Voices, reads: NDArray[np.int64], at_least: int, at_most: int | None) -> Voices:
        lengths = reads[:, 1] - reads[:, 0]
        whole = np.array(self._whole)
        long = whole & (lengths >= _MIN_EXCERPT_FRAMES)
        if int(long.sum()) < max(at_least, 2):
            long = whole
        seconds: Weights = lengths[long] / FRAME_RATE
        return find_speakers(voices[long], seconds, at_least=at_least, at_most=at_most)

    def _names(
        self, path: NDArray[np.int64], voices: Voices, reads: NDArray[np.int64], asked: Diarization
    ) -> dict[int, str]:
        """Of each speaker who has a unit: known voices first, then letters in order."""
        order = list(dict.fromkeys(path.tolist()))
        units = np.array(self._units)
        speaker_of_frame = np.repeat(path, units[:, 1] - units[:, 0])
        starts, ends = speaker_of_frame[reads[:, 0]], speaker_of_frame[reads[:, 1] - 1]
        whole = np.array(self._whole)
        own: list[Voices] = []
        for speaker in order:
            inside = whole & (starts == speaker) & (ends == speaker)
            inside = inside if inside.any() else (starts == speaker) | (ends == speaker)
            own.append(mean_voice(voices[inside], (reads[inside, 1] - reads[inside, 0]).astype(np.float64)))
        known = name_speakers(np.stack(own), asked.known)
        letters = (letter for letter in speaker_labels() if letter not in known)
        return {speaker: name or next(letters) for speaker, name in zip(order, known, strict=True)}


def speaker_labels():
    """A, B, … Z, A2, B2, …"""
    for round_ in count(1):
        for letter in ascii_uppercase:
            yield letter if round_ == 1 else f"{letter}{round_}"


def make_turns(spans: list[Span], speakers: list[str]) -> list[Turn]:
    """Neighbouring units of one speaker become a turn, unless a long pause is between them."""
    turns: list[tuple[Span, str]] = []
    for span, speaker in zip(spans, speakers, strict=True):
        if turns and turns[-1][1] == speaker and span.start - turns[-1][0].end <= _MAX_PAUSE:
            turns[-1] = (Span(start=turns[-1][0].start, end=span.end), speaker)
        else:
            turns.append((span, speaker))
    return [
        Turn(start=samples_to_seconds(span.start), end=samples_to_seconds(span.end), speaker=speaker)
        for span, speaker in turns
    ]
