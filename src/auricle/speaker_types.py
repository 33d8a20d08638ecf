"""The words of who spoke: voices, what is asked of them, and who speaks when."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Somebody speaks without a break; times in seconds of the file."""

    start: float
    end: float
    speaker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSpeaker:
    """A voice that has a name."""

    name: str
    voice: tuple[float, ...]
    """Embedding of a sample of the voice, of unit length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diarization:
    """What is asked of who spoke when; hashable, since the key of kept results counts it."""

    num_speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None
    known: tuple[KnownSpeaker, ...] = ()
