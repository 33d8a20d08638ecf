"""How fast audio is being done."""

from collections.abc import Callable


class Speed:
    """Audio seconds done per second with work, over the last minutes."""

    HALF_LIFE_S = 60.0

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at = clock()
        self._audio_s = 0.0
        self._busy_s = 0.0

    @property
    def rtfx(self) -> float | None:
        """None where too little has been seen."""
        return self._audio_s / self._busy_s if self._audio_s > 0 and self._busy_s > 0 else None

    def add(self, audio_s: float) -> None:
        """So much audio has been done."""
        self._audio_s += audio_s

    def pass_time(self, *, is_busy: bool) -> None:
        """The time since the last call was with work, or without; the latter changes nothing."""
        now = self._clock()
        if is_busy:
            passed_s = now - self._at
            fade = 0.5 ** (passed_s / self.HALF_LIFE_S)
            self._audio_s *= fade
            self._busy_s = self._busy_s * fade + passed_s
        self._at = now
