import pytest

from auricle.errors import EngineFailed
from auricle.pipeline.backoff import Backoff


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_failure_is_repeated_for_a_while_and_the_while_grows_up_to_a_minute() -> None:
    clock = Clock()
    backoff = Backoff(first_pause_s=5, clock=clock)
    for pause in (5, 10, 20, 40, 60, 60):
        backoff.note("a", EngineFailed("broken"))
        clock.now += pause - 0.1
        with pytest.raises(EngineFailed, match="broken"):
            backoff.check("a")
        clock.now += 0.2
        backoff.check("a")


def test_free_failures_cost_no_pause() -> None:
    backoff = Backoff(first_pause_s=5, free=1, clock=Clock())
    backoff.note("a", EngineFailed("once"))
    backoff.check("a")
    backoff.note("a", EngineFailed("twice"))
    with pytest.raises(EngineFailed, match="twice"):
        backoff.check("a")


def test_a_success_forgets_and_others_are_not_concerned() -> None:
    backoff = Backoff(first_pause_s=5, clock=Clock())
    backoff.note("a", EngineFailed("broken"))
    backoff.check("b")
    backoff.forget("a")
    backoff.check("a")


def test_a_flood_of_names_is_not_remembered_without_end_and_long_failing_costs_no_more() -> None:
    backoff = Backoff(first_pause_s=5, clock=Clock())
    for _ in range(2000):
        backoff.note("same", EngineFailed("broken"))
    for number in range(300):
        backoff.note(number, EngineFailed("broken"))
    backoff.check("same")
    with pytest.raises(EngineFailed):
        backoff.check(299)
