"""What the audio of URLs takes of what its owner may use; how long it is shows only when it has been fetched."""

from typing import Protocol


class AudioMeter(Protocol):
    """Counts audio by owner."""

    def check(self, owner: str) -> None:
        """Raises RateLimited where nothing is left now."""
        ...

    def add(self, owner: str, audio_s: float) -> None:
        """So much will be worked on, even where it is more than was left."""
        ...


class FreeMeter:
    """Nobody has limits."""

    def check(self, owner: str) -> None:
        """All may."""

    def add(self, owner: str, audio_s: float) -> None:
        """Nothing is counted."""
