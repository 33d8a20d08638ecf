"""How much a key may use; the library's clock is moved by hand."""

from collections.abc import Callable

import pytest

from auricle.errors import AudioTooLong, InvalidOption, RateLimited
from auricle.server.limits import Quota, RateLimits, parse_rates, parse_tiers


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [1_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])

    def go(seconds: float) -> None:
        now[0] += seconds

    return go


def quota(limits: RateLimits, rates: str, owner: str = "a") -> Quota:
    return Quota(limits, owner, parse_rates(rates))


def taken(limits: RateLimits, rates: str, times: int, owner: str = "a") -> int:
    """How many of so many requests are let through."""
    count = 0
    for _ in range(times):
        try:
            quota(limits, rates, owner).take_request()
        except RateLimited:
            continue
        count += 1
    return count


@pytest.mark.parametrize(
    ("text", "requests", "audio"),
    [
        ("10/hour", [(10, 3600)], []),
        ("600s/hour", [], [(60_000, 3600)]),
        (" 5 / minute , 600 s / 2 hours ", [(5, 60)], [(60_000, 7200)]),
        ("10/h,1/s,7/d,3/min", [(10, 3600), (1, 1), (7, 86_400), (3, 60)], []),
        ("0/hour", [(0, 3600)], []),
        ("", [], []),
    ],
)
def test_limits_are_numbers_per_time(text: str, requests: list, audio: list) -> None:
    rates = parse_rates(text)
    assert [(item.amount, item.get_expiry()) for item in rates.requests] == requests
    assert [(item.amount, item.get_expiry()) for item in rates.audio] == audio


@pytest.mark.parametrize("text", ["10", "10/fortnight", "-1/hour", "1.5/hour", "x/hour", "10/hour;5/day", "9" * 30])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"limit|time"):
        parse_rates(text)


def test_tiers_are_limits_by_name() -> None:
    tiers = parse_tiers("free=10/hour,600s/hour; premium = 1000/hour;open=")
    assert {name: len(rates.requests) + len(rates.audio) for name, rates in tiers.items()} == {
        "free": 2,
        "premium": 1,
        "open": 0,
    }
    for bad in ("free", "=10/hour", "free=lots"):
        with pytest.raises(InvalidOption, match="AURICLE_TIERS"):
            parse_tiers(bad)


def test_exactly_as_many_requests_pass_as_the_limit_says(pass_time: Callable[[float], None]) -> None:
    limits = RateLimits()
    assert taken(limits, "10/hour", 25) == 10
    assert taken(limits, "10/hour", 3, owner="b") == 3, "another key has its own"
    pass_time(3599)
    assert taken(limits, "10/hour", 1) == 0
    pass_time(2)
    assert taken(limits, "10/hour", 25) == 10


def test_a_refused_request_takes_nothing_from_any_window(pass_time: Callable[[float], None]) -> None:
    limits = RateLimits()
    assert taken(limits, "2/minute,5/hour", 10) == 2
    for _ in range(3):
        pass_time(61)
        assert taken(limits, "2/minute,5/hour", 10) <= 2
    assert taken(limits, "5/hour", 10) == 0, "2 + 2 + 1 of the hour are used"


def test_a_refusal_says_what_the_limit_is_and_when_there_is_room(pass_time: Callable[[float], None]) -> None:
    limits = RateLimits()
    assert taken(limits, "1/2 hours", 1) == 1
    pass_time(200)
    with pytest.raises(RateLimited, match="1 requests per 2 hours") as caught:
        quota(limits, "1/2 hours").take_request()
    assert caught.value.retry_after_s == pytest.approx(7000)


def test_audio_counts_when_its_work_begins_and_is_corrected_at_its_end(pass_time: Callable[[float], None]) -> None:
    limits = RateLimits()
    first = quota(limits, "600s/hour")
    first.take_audio(500.0)
    with pytest.raises(RateLimited, match="600 s of audio per hour"):
        quota(limits, "600s/hour").take_audio(100.5)
    first.settle(120.0)
    quota(limits, "600s/hour").take_audio(480.0)
    with pytest.raises(RateLimited):
        quota(limits, "600s/hour").take_audio(0.01)


def test_audio_that_is_longer_than_its_header_says_counts_in_full() -> None:
    limits = RateLimits()
    liar = quota(limits, "600s/hour")
    liar.take_audio(1.0)
    liar.settle(5000.0)
    with pytest.raises(RateLimited):
        quota(limits, "600s/hour").take_audio(1.0)


def test_work_that_was_given_up_counts_as_far_as_it_went() -> None:
    limits = RateLimits()
    left = quota(limits, "600s/hour")
    left.take_audio(10.0)
    left.note_done(90.0)
    left.note_done(80.0)
    left.settle(None)
    quota(limits, "600s/hour").take_audio(510.0)
    with pytest.raises(RateLimited):
        quota(limits, "600s/hour").take_audio(0.1)


def test_a_file_longer_than_the_whole_limit_is_too_long_not_too_early() -> None:
    with pytest.raises(AudioTooLong, match="600 s of audio per hour"):
        quota(RateLimits(), "600s/hour").take_audio(601)


def test_a_guessed_length_is_taken_as_far_as_there_is_room(pass_time: Callable[[float], None]) -> None:
    limits = RateLimits()
    quota(limits, "600s/hour").take_audio(400.0)
    guessed = quota(limits, "600s/hour")
    guessed.take_audio(900.0, is_guess=True)
    guessed.settle(150.0)
    quota(limits, "600s/hour").take_audio(50.0)
    with pytest.raises(RateLimited):
        quota(limits, "600s/hour").take_audio(900.0, is_guess=True)


def test_what_is_given_back_after_its_window_is_of_no_consequence(pass_time: Callable[[float], None]) -> None:
    limits = RateLimits()
    old = quota(limits, "600s/hour")
    old.take_audio(500.0)
    pass_time(4000)
    old.settle(1.0)
    quota(limits, "600s/hour").take_audio(600.0)
    with pytest.raises(RateLimited):
        quota(limits, "600s/hour").take_audio(1.0)


def test_headers_tell_of_the_tightest_windows(pass_time: Callable[[float], None]) -> None:
    limits = RateLimits()
    asking = quota(limits, "10/hour,5/minute,600s/hour")
    assert asking.headers() == {}, "nothing was asked for yet"
    asking.take_request()
    asking.take_audio(10.4)
    pass_time(10.5)
    assert asking.headers() == {
        "x-ratelimit-limit-requests": "5",
        "x-ratelimit-remaining-requests": "4",
        "x-ratelimit-reset-requests": "50s",
        "x-ratelimit-limit-audio-seconds": "600",
        "x-ratelimit-remaining-audio-seconds": "589",
        "x-ratelimit-reset-audio-seconds": "3590s",
    }
