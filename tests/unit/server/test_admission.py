"""Places and queued audio, with the clock in the test's hands."""

from contextlib import ExitStack

import pytest

from auricle.errors import QueueFull
from auricle.server.admission import MAX_WAIT_S, MIN_WAIT_S, Admission, Place


class Bench:
    def __init__(self, *, max_requests: int = 100, max_queued_audio_s: float = 1000.0) -> None:
        self.now = 0.0
        self.admission = Admission(
            max_requests=max_requests, max_queued_audio_s=max_queued_audio_s, clock=lambda: self.now
        )
        self.open: dict[Place, ExitStack] = {}

    def enter(self, audio_s: float = 0.0) -> Place:
        stack = ExitStack()
        place = stack.enter_context(self.admission.admit())
        self.open[place] = stack
        place.expect(audio_s)
        place.begin()
        return place

    def leave(self, place: Place) -> None:
        self.open.pop(place).close()

    def measure(self, rtfx: float) -> None:
        place = self.enter(10 * rtfx)
        self.now += 10
        place.advance(10 * rtfx)
        self.leave(place)

    def refusal(self, audio_s: float = 0.0) -> QueueFull:
        before = self.admission.requests
        with pytest.raises(QueueFull) as caught, self.admission.admit() as place:
            place.expect(audio_s)
            place.begin()
        assert self.admission.requests == before, "who is refused leaves nothing behind"
        return caught.value


def test_more_requests_than_places_are_refused_until_one_leaves() -> None:
    bench = Bench(max_requests=2)
    first, _ = bench.enter(), bench.enter()
    assert "AURICLE_MAX_REQUESTS" in bench.refusal().message
    bench.leave(first)
    bench.enter()


def test_audio_beyond_the_limit_is_refused_until_enough_is_done() -> None:
    bench = Bench()
    long = bench.enter(900)
    assert "AURICLE_MAX_QUEUED_AUDIO_S" in bench.refusal(200).message
    long.advance(100)
    assert bench.admission.queued_audio_s == 800
    bench.enter(200)
    assert bench.admission.queued_audio_s == 1000


def test_a_file_longer_than_the_limit_is_taken_when_nothing_else_waits() -> None:
    bench = Bench()
    bench.enter(5000)
    bench.refusal(1)


def test_0_is_no_limit_of_audio() -> None:
    bench = Bench(max_queued_audio_s=0)
    for _ in range(50):
        bench.enter(1e6)


def test_audio_counts_from_the_beginning_of_the_work_so_an_answer_from_the_cache_is_never_refused() -> None:
    bench = Bench()
    bench.enter(1000)
    with bench.admission.admit() as place:
        place.expect(500)
        place.advance(500)
        assert bench.admission.queued_audio_s == 1000


def test_who_leaves_early_takes_the_rest_of_its_audio_along() -> None:
    bench = Bench()
    place = bench.enter(1000)
    place.advance(10)
    bench.leave(place)
    assert bench.admission.queued_audio_s == 0


def test_a_file_that_is_longer_than_it_said_owes_nothing() -> None:
    bench = Bench()
    place = bench.enter(10)
    place.advance(500)
    assert bench.admission.queued_audio_s == 0


@pytest.mark.parametrize(("rtfx", "wait_s"), [(2.0, 50.0), (10.0, 10.0), (1e6, MIN_WAIT_S), (0.01, MAX_WAIT_S)])
def test_retry_after_is_the_time_in_which_the_surplus_is_done_at_the_measured_speed(rtfx: float, wait_s: float) -> None:
    bench = Bench(max_queued_audio_s=1e9)
    bench.measure(rtfx)
    bench.enter(1e9 - 100)
    assert bench.refusal(200).retry_after_s == pytest.approx(wait_s)


def test_retry_after_of_a_full_house_is_the_time_of_one_requests_share() -> None:
    bench = Bench(max_requests=4)
    bench.measure(10.0)
    for _ in range(4):
        bench.enter(100)
    assert bench.refusal().retry_after_s == pytest.approx(10.0)


def test_before_anything_is_measured_the_wait_is_a_guess() -> None:
    bench = Bench(max_requests=1)
    bench.enter(100)
    assert MIN_WAIT_S <= (bench.refusal().retry_after_s or 0) <= MAX_WAIT_S


def test_idle_time_does_not_make_the_server_look_slow() -> None:
    bench = Bench(max_queued_audio_s=1000)
    bench.measure(10.0)
    bench.now += 3600
    bench.enter(1000)
    assert bench.refusal(100).retry_after_s == pytest.approx(10.0)


def test_the_speed_is_that_of_the_last_minutes() -> None:
    bench = Bench(max_queued_audio_s=1000)
    bench.measure(10.0)
    for _ in range(60):
        bench.measure(2.0)
    bench.enter(1000)
    assert bench.refusal(100).retry_after_s == pytest.approx(50.0, rel=0.05)
