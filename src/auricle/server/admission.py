"""Who may work: places for requests, and the audio that they have still to do.

A place is held from before the upload on, so that bodies that wait cannot fill the disk. The audio counts from the
moment when the work begins: an answer from the cache, and a request that joins another's run, add none.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from auricle.errors import QueueFull
from auricle.pipeline.speed import Speed

MIN_WAIT_S, MAX_WAIT_S = 1.0, 600.0
_UNKNOWN_WAIT_S = 5.0
"""Where nothing has been measured yet."""


class Admission:
    """Counts requests and audio against their limits; 0 is no limit for the audio. Belongs to one event loop."""

    def __init__(
        self, *, max_requests: int, max_queued_audio_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_requests = max_requests
        self._max_queued_audio_s = max_queued_audio_s
        self._places: set[Place] = set()
        self._speed = Speed(clock)

    @property
    def requests(self) -> int:
        """Requests in progress, those included that are still uploading."""
        return len(self._places)

    @property
    def queued_audio_s(self) -> float:
        """Audio that the requests in progress have still to do."""
        return sum(place.left_s for place in self._places)

    @contextmanager
    def admit(self) -> Generator["Place"]:
        """A place for a request. Raises QueueFull where all are taken."""
        if self.requests >= self._max_requests:
            # On average a place gets free each time that a request's share of the audio is done.
            wait_s = self._wait_s(self.queued_audio_s / self.requests)
            raise QueueFull(
                f"The server works on {self.requests} requests already (AURICLE_MAX_REQUESTS); try again in "
                f"{wait_s:.0f} s.",
                retry_after_s=wait_s,
            )
        place = Place(self)
        self._places.add(place)
        try:
            yield place
        finally:
            self._note_time()
            self._places.discard(place)

    def check(self, audio_s: float) -> None:
        """Raises QueueFull where ``audio_s`` more would be too much; a server without work takes any file."""
        queued_s = self.queued_audio_s
        surplus_s = queued_s + audio_s - self._max_queued_audio_s
        if self._max_queued_audio_s and queued_s > 0 and surplus_s > 0:
            wait_s = self._wait_s(surplus_s)
            raise QueueFull(
                f"{queued_s:.0f} s of audio wait for their turn already; {audio_s:.0f} s more would be over the limit "
                f"of {self._max_queued_audio_s:g} s (AURICLE_MAX_QUEUED_AUDIO_S). Try again in {wait_s:.0f} s.",
                retry_after_s=wait_s,
            )
        self._note_time()

    def note_done(self, audio_s: float) -> None:
        """So much audio has been done."""
        self._note_time()
        self._speed.add(audio_s)

    def _note_time(self) -> None:
        self._speed.pass_time(is_busy=self.queued_audio_s > 0)

    def _wait_s(self, audio_s: float) -> float:
        self._note_time()
        rtfx = self._speed.rtfx
        return _UNKNOWN_WAIT_S if rtfx is None else min(max(audio_s / rtfx, MIN_WAIT_S), MAX_WAIT_S)


class Place:
    """One request's place; made by ``Admission.admit``."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._audio_s = 0.0
        self._done_s = 0.0
        self._has_begun = False

    @property
    def left_s(self) -> float:
        """Audio that this request has still to do."""
        return max(0.0, self._audio_s - self._done_s) if self._has_begun else 0.0

    def expect(self, audio_s: float) -> None:
        """The request's audio is so long."""
        self._audio_s = audio_s

    def begin(self) -> None:
        """The work begins. Raises QueueFull where too much audio waits already."""
        self._admission.check(self._audio_s)
        self._has_begun = True

    def advance(self, done_s: float) -> None:
        """The first ``done_s`` seconds of the file are done; of no consequence where another request does the work."""
        if self._has_begun and done_s > self._done_s:
            self._admission.note_done(done_s - self._done_s)
            self._done_s = done_s
