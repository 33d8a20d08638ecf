"""How much a key may use: requests, and seconds of audio, in windows of time.

A window begins with the first request after the last one ended. It is counted in memory, in one process, without a
pause between look and step: so a limit holds to the request, however many come at once. Restarts begin anew.
"""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NoReturn

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from auricle.errors import AudioTooLong, InvalidOption, RateLimited

_UNITS_PER_S = 100
"""Audio is counted in hundredths of a second: the counters are whole numbers."""
_LIMIT = re.compile(r"(\d{1,9}) *(s?) */ *([a-z0-9 ]{1,20})")
_SHORT = {"s": "second", "min": "minute", "h": "hour", "d": "day"}

Kind = Literal["requests", "audio-seconds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Limits that hold together; none where a tuple is empty."""

    requests: tuple[RateLimitItem, ...] = ()
    audio: tuple[RateLimitItem, ...] = ()
    """In hundredths of a second."""


@lru_cache(maxsize=1024)
def parse_rates(text: str) -> Rates:
    """``10/hour,600s/hour`` as limits: numbers of requests, and of seconds of audio. Raises ValueError."""
    requests: list[RateLimitItem] = []
    audio: list[RateLimitItem] = []
    for part in filter(None, (part.strip().lower() for part in text.split(","))):
        match = _LIMIT.fullmatch(part)
        if match is None:
            raise ValueError(f"{part[:40]!r} is no limit; write 10/hour, or 600s/hour for seconds of audio")
        amount, is_audio, per = match.groups()
        scale = _UNITS_PER_S if is_audio else 1
        try:
            item = parse(f"{int(amount) * scale}/{_SHORT.get(per.strip(), per)}")
        except ValueError as exc:
            raise ValueError(f"{part[:40]!r}: the time must be second, minute, hour, day, or 15 minutes") from exc
        (audio if is_audio else requests).append(item)
    return Rates(requests=tuple(requests), audio=tuple(audio))


def parse_tiers(text: str) -> dict[str, Rates]:
    """``free=10/hour,600s/hour;premium=1000/hour`` as limits by name. Raises InvalidOption."""
    tiers: dict[str, Rates] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, rates = part.partition("=")
        if not equals or not name.strip():
            raise InvalidOption(f"AURICLE_TIERS: {part[:40]!r} is not of the form name=limit,…", param="tiers")
        try:
            tiers[name.strip()] = parse_rates(rates)
        except ValueError as exc:
            raise InvalidOption(f"AURICLE_TIERS: {name.strip()[:40]}: {exc}", param="tiers") from exc
    return tiers


class RateLimits:
    """The windows of all keys. Belongs to one event loop."""

    def __init__(self) -> None:
        self._storage = MemoryStorage()
        self._windows = FixedWindowRateLimiter(self._storage)

    def take(self, kind: Kind, items: Sequence[RateLimitItem], owner: str, amount: int) -> RateLimitItem | None:
        """Take ``amount`` from all windows and return None, or from none and return the one that is full longest."""
        full = [item for item in items if not self._windows.test(item, kind, owner, cost=amount)]
        if full:
            return max(full, key=lambda item: self.seconds_left(kind, item, owner))
        for item in items:
            self._windows.hit(item, kind, owner, cost=amount)
        return None

    def correct(self, kind: Kind, items: Sequence[RateLimitItem], owner: str, amount: int) -> None:
        """Take ``amount`` more, whatever the limit; give back where it is negative."""
        for item in items:
            key = item.key_for(kind, owner)
            if amount > 0:
                self._windows.hit(item, kind, owner, cost=amount)
            elif self._storage.get(key) > 0:  # else the window has ended meanwhile
                self._storage.decr(key, -amount)

    def left(self, kind: Kind, item: RateLimitItem, owner: str) -> int:
        """What is left of the window."""
        return self._windows.get_window_stats(item, kind, owner).remaining

    def seconds_left(self, kind: Kind, item: RateLimitItem, owner: str) -> float:
        """How long the window lasts."""
        return max(0.0, self._windows.get_window_stats(item, kind, owner).reset_time - time.time())


class Quota:
    """What one request takes of what its key may use."""

    def __init__(self, limits: RateLimits, owner: str, rates: Rates) -> None:
        self._limits = limits
        self._owner = owner
        self._rates = rates
        self._taken = 0
        self._done_s = 0.0
        self.requests = 0
        """How many requests it counts as; those that are not counted have none."""

    @property
    def is_metered(self) -> bool:
        """Whether the request is of those that are counted."""
        return self.requests > 0

    def take_request(self) -> None:
        """Count the request, before any work for it; once for each that a body holds. Raises RateLimited."""
        self.requests += 1
        self._take("requests", self._rates.requests, 1)

    def take_audio(self, audio_s: float, *, is_guess: bool = False) -> None:
        """The work on so much audio begins. Raises RateLimited, and AudioTooLong for more than ever fits a window.

        A guess is taken as far as there is room; ``settle`` does the rest.
        """
        if not self._rates.audio:
            return
        units = _units(audio_s)
        smallest = min(self._rates.audio, key=lambda item: item.amount)
        if is_guess:
            left = min(self._limits.left("audio-seconds", item, self._owner) for item in self._rates.audio)
            units = min(units, max(left, _UNITS_PER_S))
        elif units > smallest.amount:
            raise AudioTooLong(
                f"The audio is {audio_s:.0f} s long; the limit of this key is {_describe('audio-seconds', smallest)}."
            )
        self._take("audio-seconds", self._rates.audio, units)
        self._taken = units

    def check_audio(self) -> None:
        """Raises RateLimited where a window has no audio left."""
        full = [item for item in self._rates.audio if self._limits.left("audio-seconds", item, self._owner) <= 0]
        if full:
            self._refuse("audio-seconds", max(full, key=self._seconds_left_of_audio))

    def add_audio(self, audio_s: float) -> None:
        """So much audio is worked on, whatever is left."""
        self._limits.correct("audio-seconds", self._rates.audio, self._owner, _units(audio_s))

    def note_done(self, done_s: float) -> None:
        """So much of the audio is done; what the file said of its length may have been wrong."""
        self._done_s = max(self._done_s, done_s)

    def settle(self, audio_s: float | None) -> None:
        """The request has ended: count what its audio really was, None where that is not known."""
        if self._taken:
            used = _units(audio_s) if audio_s is not None else max(self._taken, _units(self._done_s))
            self._limits.correct("audio-seconds", self._rates.audio, self._owner, used - self._taken)

    def headers(self) -> dict[str, str]:
        """What is left in the tightest windows, in the way of OpenAI's API."""
        if not self.is_metered:
            return {}
        found = self._window("requests", self._rates.requests, 1)
        return found | self._window("audio-seconds", self._rates.audio, _UNITS_PER_S)

    def _take(self, kind: Kind, items: Sequence[RateLimitItem], amount: int) -> None:
        full = self._limits.take(kind, items, self._owner, amount)
        if full is not None:
            self._refuse(kind, full)

    def _refuse(self, kind: Kind, full: RateLimitItem) -> NoReturn:
        wait_s = max(1.0, self._limits.seconds_left(kind, full, self._owner))
        raise RateLimited(
            f"The limit of this key is {_describe(kind, full)}; there is room again in {wait_s:.0f} s.",
            retry_after_s=wait_s,
        )

    def _seconds_left_of_audio(self, item: RateLimitItem) -> float:
        return self._limits.seconds_left("audio-seconds", item, self._owner)

    def _window(self, kind: Kind, items: Sequence[RateLimitItem], scale: int) -> dict[str, str]:
        if not items:
            return {}
        left = {item: self._limits.left(kind, item, self._owner) for item in items}
        tightest = min(items, key=lambda item: left[item])
        return {
            f"x-ratelimit-limit-{kind}": str(tightest.amount // scale),
            f"x-ratelimit-remaining-{kind}": str(left[tightest] // scale),
            f"x-ratelimit-reset-{kind}": f"{math.ceil(self._limits.seconds_left(kind, tightest, self._owner))}s",
        }


def _units(audio_s: float) -> int:
    return math.ceil(max(0.0, audio_s) * _UNITS_PER_S)


def _describe(kind: Kind, item: RateLimitItem) -> str:
    unit = item.GRANULARITY.name
    per = unit if item.multiples == 1 else f"{item.multiples} {unit}s"
    if kind == "requests":
        return f"{item.amount} requests per {per}"
    return f"{item.amount // _UNITS_PER_S} s of audio per {per}"
