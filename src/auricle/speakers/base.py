"""What a way to find out who spoke has to offer."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from auricle.speaker_types import Diarization, Turn
from auricle.types import Clip

Voices = NDArray[np.float32]
"""float32 (n, dim): one voice a row, each of unit length."""


class Diarizer(Protocol):
    """Finds out who spoke when in one file; for one thread at a time."""

    def feed(self, clip: Clip) -> None:
        """Clips in the order of the file, as they become complete."""
        ...

    def finish(self, asked: Diarization) -> list[Turn]:
        """Who spoke when, by start; turns may overlap only where two speak at once. Nothing is fed any more.

        Speakers are called by the names of ``asked.known`` whose voices they have, else A, B, … as they first appear.
        """
        ...
