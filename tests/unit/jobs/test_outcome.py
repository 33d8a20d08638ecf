"""What becomes of a job after an error."""

import pytest

from auricle.errors import (
    AuricleError,
    CorruptAudio,
    EngineFailed,
    EngineOutOfMemory,
    ForbiddenUrl,
    JobError,
    JobKilledEngine,
    MemoryPressure,
    ModelNotFound,
    QueueFull,
)
from auricle.jobs.outcome import MAX_DELAY_S, Again, error_of, judge

FIRST = {"failures": 0, "crashes": 0, "has_begun": True, "max_failures": 4, "chance": 0.5}


def verdict(error: AuricleError, **changes: object) -> Again | AuricleError:
    values = {"may_pass": error.retryable} | FIRST | changes
    return judge(error, **values)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("error", [CorruptAudio("x"), ForbiddenUrl("x"), ModelNotFound("x")])
def test_what_cannot_pass_is_the_end(error: AuricleError) -> None:
    assert verdict(error) is error


@pytest.mark.parametrize("error", [QueueFull("x", retry_after_s=7), MemoryPressure("x", retry_after_s=7)])
def test_busy_is_waited_for_as_long_as_it_says_and_never_counted(error: AuricleError) -> None:
    assert verdict(error, failures=99, crashes=2) == Again(delay_s=7)
    assert verdict(QueueFull("x")) == Again(delay_s=5)


def test_a_failure_that_may_pass_is_tried_again_later_and_later() -> None:
    delays = []
    for failures in range(3):
        again = verdict(EngineOutOfMemory("x"), failures=failures)
        assert isinstance(again, Again)
        assert (again.failures, again.crashes) == (1, 0)
        delays.append(again.delay_s)
    assert delays == [3.75, 7.5, 15.0]
    error = EngineOutOfMemory("x")
    assert verdict(error, failures=3) is error


def test_the_pause_is_bounded_and_partly_by_chance() -> None:
    longest = verdict(EngineOutOfMemory("x"), failures=50, max_failures=99, chance=1.0)
    shortest = verdict(EngineOutOfMemory("x"), failures=50, max_failures=99, chance=0.0)
    assert isinstance(longest, Again)
    assert isinstance(shortest, Again)
    assert (shortest.delay_s, longest.delay_s) == (MAX_DELAY_S / 2, MAX_DELAY_S)


def test_an_engine_that_dies_over_the_audio_is_a_crash_and_the_third_is_the_end() -> None:
    again = verdict(EngineFailed("signal 9"), crashes=1)
    assert isinstance(again, Again)
    assert again.crashes == 1
    end = verdict(EngineFailed("signal 9"), crashes=2)
    assert isinstance(end, JobKilledEngine)
    assert "signal 9" in end.message


def test_an_engine_that_does_not_even_start_is_not_the_fault_of_the_job() -> None:
    again = verdict(EngineFailed("no driver"), crashes=2, has_begun=False)
    assert isinstance(again, Again)
    assert again.crashes == 0


def test_the_error_of_a_job_is_what_it_failed_with() -> None:
    assert isinstance(error_of("forbidden_url", "10.0.0.1"), ForbiddenUrl)
    assert error_of("forbidden_url", "10.0.0.1").message == "10.0.0.1"
    assert isinstance(error_of("job_killed_engine", "x"), JobKilledEngine)
    assert type(error_of("of a later version", "x")) is JobError
    assert type(error_of(None, None)) is JobError
