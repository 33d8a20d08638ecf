"""The voices of known speakers, out of samples of them."""

from io import BytesIO
from pathlib import Path

import numpy as np

from auricle.audio.decode import decode_audio
from auricle.errors import AudioTooLong, InputError, InvalidOption
from auricle.speaker_types import KnownSpeaker
from auricle.speakers.known import voice_of
from auricle.types import Samples

MAX_NAME = 64
MAX_REFERENCE_S = 10.0

_SLACK_S = 0.1
"""An encoder may have made 10 s a little longer."""

_JOINERS = "\u200c\u200d"
"""Are not printable, and belong into names of some languages."""


def check_name(name: str) -> str:
    """A speaker's name without blanks around it. Raises ValueError for one that cannot be shown."""
    name = name.strip()
    if not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"a name has 1 to {MAX_NAME} characters")
    if not all(character.isprintable() or character in _JOINERS for character in name):
        raise ValueError("a name holds no control characters and no line breaks")
    return name


def know_speaker(name: str, reference: Path | bytes, *, where: str, param: str) -> KnownSpeaker:
    """The speaker ``name``, whose voice is in the audio ``reference``; blocks.

    Raises InvalidOption about the option ``param``, whatever is wrong with the reference; ``where`` says which it is.
    """
    try:
        samples = _decode(reference)
    except OSError as exc:
        raise InvalidOption(f"{where}: {exc.strerror or exc}.", param=param) from exc
    except AudioTooLong as exc:
        raise InvalidOption(
            f"{where}: the sample is longer than {MAX_REFERENCE_S:g} s; send 2 to 10 s of one speaker.", param=param
        ) from exc
    except InputError as exc:
        raise InvalidOption(f"{where}: {exc.message.rstrip('.')}.", param=param) from exc
    try:
        return KnownSpeaker(name=name, voice=voice_of(samples))
    except InvalidOption as exc:
        raise InvalidOption(f"{where}: {exc.message.rstrip('.')}.", param=param) from exc


def _decode(reference: Path | bytes) -> Samples:
    source = BytesIO(reference) if isinstance(reference, bytes) else reference
    blocks = [*decode_audio(source, max_audio_s=MAX_REFERENCE_S + _SLACK_S)]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
