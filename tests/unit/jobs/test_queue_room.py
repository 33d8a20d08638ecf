"""How many jobs may wait."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from auricle.errors import QueueFull
from auricle.jobs.room import QueueRoom


class Waiting:
    """The jobs that wait by the database, and how often that was asked."""

    def __init__(self, **waiting: int) -> None:
        self.by_owner = Counter(waiting)
        self.asked = 0
        self.stores: Any = SimpleNamespace(jobs=self)

    def queued_by_owner(self) -> dict[str, int]:
        self.asked += 1
        return dict(self.by_owner)


def room(**limits: int) -> tuple[QueueRoom, list[float]]:
    now = [0.0]
    made = {"max_queued": 10, "max_per_owner": 3} | limits
    return QueueRoom(**made, clock=lambda: now[0]), now


def test_no_more_than_the_limit_may_wait() -> None:
    waiting = Waiting(ann=8)
    space, _ = room(max_per_owner=0)
    space.take(waiting.stores, "ann")
    space.take(waiting.stores, "bob")
    with pytest.raises(QueueFull, match="MAX_QUEUED_JOBS\\)") as caught:
        space.take(waiting.stores, "bob")
    assert caught.value.retry_after_s


def test_no_more_of_one_key_than_its_limit_may_wait() -> None:
    waiting = Waiting(ann=2)
    space, _ = room()
    space.take(waiting.stores, "ann")
    with pytest.raises(QueueFull, match="PER_KEY"):
        space.take(waiting.stores, "ann")
    space.take(waiting.stores, "bob")


def test_those_without_keys_are_nobody_in_particular() -> None:
    waiting = Waiting()
    space, _ = room()
    for _ in range(10):
        space.take(waiting.stores, "")
    with pytest.raises(QueueFull, match="MAX_QUEUED_JOBS\\)"):
        space.take(waiting.stores, "")


def test_jobs_that_have_begun_make_room_after_a_while() -> None:
    waiting = Waiting(ann=3)
    space, now = room()
    with pytest.raises(QueueFull):
        space.take(waiting.stores, "ann")
    waiting.by_owner["ann"] = 0
    with pytest.raises(QueueFull):
        space.take(waiting.stores, "ann")
    now[0] = 1.0
    space.take(waiting.stores, "ann")


def test_many_jobs_are_counted_once() -> None:
    waiting = Waiting()
    space, now = room(max_queued=10_000, max_per_owner=0)
    for number in range(1000):
        now[0] = number / 1000
        space.take(waiting.stores, "ann")
    assert waiting.asked == 1
