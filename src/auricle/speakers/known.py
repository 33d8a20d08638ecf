"""Voices that have a name: made of a sample, and found again among the speakers of a file."""

import numpy as np

from auricle.errors import InvalidOption
from auricle.speaker_types import KnownSpeaker
from auricle.speakers.base import Voices
from auricle.speakers.embedding import Excerpt, embed, mean_voice, power_spectra
from auricle.speakers.excerpts import cut_excerpts
from auricle.speakers.noise import noise_spectrum, subtract_noise
from auricle.types import Samples
from auricle.units import FRAME_RATE, HOP_LENGTH

SAME_VOICE = 0.77
"""A speaker has a known voice where they are alike by more than this; calibrated, see ``benchmarks/diarization.py``."""

_MIN_SPEECH_S = 1.0
_LONGEST_S = 30
"""More of a sample is not looked at."""
_QUIETEST = 1e-6
"""Mean square of a frame, -60 dBFS: less is silence."""
_DYNAMICS = 3e-3
"""Frames quieter than the loud ones by more than this, 25 dB, are pauses."""


def voice_of(samples: Samples, *, param: str = "known_speaker_references") -> tuple[float, ...]:
    """The voice in a recording of one speaker, 2-10 s long; pauses do no harm. Of a longer one the first 30 s count.

    Raises InvalidOption where there is less than a second of speech; ``param`` names the field at fault.
    """
    samples = samples[: _LONGEST_S * FRAME_RATE * HOP_LENGTH]
    centres = HOP_LENGTH // 2 + HOP_LENGTH * np.arange(samples.size // HOP_LENGTH)
    loudness = np.square(samples[: centres.size * HOP_LENGTH].astype(np.float64)).reshape(-1, HOP_LENGTH).mean(axis=1)
    loud = float(np.quantile(loudness, 0.95)) if loudness.size else 0.0
    is_spoken = loudness > max(_QUIETEST, _DYNAMICS * loud)
    spoken = centres[is_spoken]
    if spoken.size < _MIN_SPEECH_S * FRAME_RATE:
        seconds = spoken.size / FRAME_RATE
        raise InvalidOption(
            f"the sample of a voice holds {seconds:.1f} s that are not silent; send 2 to 10 s of one speaker",
            param=param,
        )
    noise = noise_spectrum(samples, centres[~is_spoken])
    power = subtract_noise(power_spectra(samples, spoken), noise)
    excerpts = [Excerpt(power=power[first:last], reads=(last - first,)) for first, last in cut_excerpts(len(power))]
    return tuple(mean_voice(embed(excerpts)).tolist())


def name_speakers(voices: Voices, known: tuple[KnownSpeaker, ...]) -> list[str | None]:
    """The name of each of the speakers (n, dim), None for strangers; a name goes to the voice most like it only."""
    names: list[str | None] = [None] * len(voices)
    if not known or not len(voices):
        return names
    similar = voices @ np.array([speaker.voice for speaker in known], np.float32).T
    while similar.max() > SAME_VOICE:
        row, column = divmod(int(similar.argmax()), similar.shape[1])
        names[row] = known[column].name
        similar[row, :] = similar[:, column] = -1.0
    return names
