"""For diarizers that need a whole file at once: its audio waits on the disk, so that hours stay out of memory."""

import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, cast

import numpy as np

from auricle.errors import InvalidOption
from auricle.speaker_types import Diarization, KnownSpeaker, Turn
from auricle.speakers.known import name_speakers, voice_of
from auricle.speakers.local import speaker_labels
from auricle.types import Clip, Samples
from auricle.units import seconds_to_samples

# Of a speaker's turns, what a known voice is looked for in: more says no more.
_VOICE_SAMPLES = seconds_to_samples(30)


class Recording:
    """The clips of one file at their places, and silence between them; 230 MB on the disk for an hour."""

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        # It has no name: nothing is left where the process is killed.
        self.file = cast("IO[bytes]", TemporaryFile(dir=folder))  # noqa: SIM115
        self.n_samples = 0
        self.close: Callable[[], Any] = weakref.finalize(self, self.file.close)

    def add(self, clip: Clip) -> None:
        """Raises OSError where the disk is full."""
        first = 0
        for piece in clip.pieces:
            # Written, not mapped: a full disk then is an error, and not the end of the process.
            self.file.seek(piece.start * np.dtype(np.float32).itemsize)
            self.file.write(clip.samples[first : first + piece.length].astype(np.float32, copy=False).tobytes())
            first += piece.length
            self.n_samples = max(self.n_samples, piece.end)
        self.file.flush()

    def samples(self) -> Samples:
        """All of it, mapped: what is read comes from the disk, and what is written goes nowhere."""
        if not self.n_samples:
            return np.zeros(0, np.float32)
        return np.memmap(self.file, np.float32, mode="c", shape=(self.n_samples,))


FindTurns = Callable[[Recording, Diarization], Sequence[Turn]]
"""Who speaks when in a recording, in any order and by whatever names."""


class WholeFileDiarizer:
    """Collects the file, asks ``find_turns``, and gives the speakers their names; see ``Diarizer``."""

    def __init__(self, find_turns: FindTurns, folder: Path | None = None) -> None:
        self._find_turns = find_turns
        self._recording = Recording(folder)

    def feed(self, clip: Clip) -> None:
        self._recording.add(clip)

    def finish(self, asked: Diarization) -> list[Turn]:
        recording = self._recording
        try:
            if not recording.n_samples:
                return []
            return name_turns(self._find_turns(recording, asked), recording.samples(), asked.known)
        finally:
            recording.close()


def name_turns(turns: Sequence[Turn], samples: Samples, known: Sequence[KnownSpeaker]) -> list[Turn]:
    """The turns by start, whose speakers are called by the names of the known voices that they have, else A, B, …

    Known voices are vectors of the embedded network, so their speakers are looked for with it, whoever found the turns.
    """
    ordered = sorted(turns, key=lambda turn: (turn.start, turn.end))
    speakers = list(dict.fromkeys(turn.speaker for turn in ordered))
    names: dict[str, str] = {}
    if known:
        voices = {speaker: _voice(speaker, ordered, samples) for speaker in speakers}
        heard = {speaker: voice for speaker, voice in voices.items() if voice is not None}
        found = zip(heard, name_speakers(np.array([*heard.values()], np.float32), tuple(known)), strict=True)
        names = {speaker: name for speaker, name in found if name is not None}
    letters = (letter for letter in speaker_labels() if letter not in names.values())
    names |= {speaker: next(letters) for speaker in speakers if speaker not in names}
    return [Turn(start=turn.start, end=turn.end, speaker=names[turn.speaker]) for turn in ordered]


def _voice(speaker: str, turns: Sequence[Turn], samples: Samples) -> tuple[float, ...] | None:
    """Of the longest turns; None where they are too short to tell."""
    own = [turn for turn in turns if turn.speaker == speaker]
    parts: list[Samples] = []
    room = _VOICE_SAMPLES
    for turn in sorted(own, key=lambda turn: turn.start - turn.end):
        start = seconds_to_samples(max(0.0, turn.start))
        part = samples[start : min(seconds_to_samples(turn.end), start + room)]
        parts.append(part)
        room -= part.size
        if room <= 0:
            break
    try:
        return voice_of(np.concatenate(parts))
    except InvalidOption:
        return None
