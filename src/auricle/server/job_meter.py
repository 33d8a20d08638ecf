"""The audio of URLs against the limits of keys, and in their usage."""

from auricle.server.accounts import Accounts
from auricle.server.limits import Quota


class KeyMeter:
    """An ``AudioMeter`` for the keys of ``accounts``. Belongs to their event loop."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def check(self, owner: str) -> None:
        """Raises RateLimited where the key has no audio left; its job waits until it has."""
        self._quota(owner).check_audio()

    def add(self, owner: str, audio_s: float) -> None:
        """Count the audio, also beyond the limit: what comes later waits for it."""
        if owner:
            self._quota(owner).add_audio(audio_s)
            self._accounts.usage.add(owner, audio_s=audio_s)

    def _quota(self, owner: str) -> Quota:
        return Quota(self._accounts.limits, owner, self._accounts.keyring.rates(owner))
