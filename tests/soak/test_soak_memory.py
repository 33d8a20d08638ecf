"""The judgement on memory must be able to fail."""

import random

from tests.soak.memory import Growth, Series


def judge(mib_per_s: float, noise_mib: float) -> bool | None:
    chance = random.Random(3)
    growth = Growth(900, 1800)
    for second in range(1800):
        growth.add(second, 200 + mib_per_s * second + chance.gauss(0, noise_mib))
    return growth.judge(1800)["is_flat"]


def test_noise_is_flat() -> None:
    assert judge(0, noise_mib=20) is True


def test_a_leak_of_a_mib_a_minute_is_seen_through_the_noise() -> None:
    assert judge(1 / 60, noise_mib=20) is False


def test_no_line_is_drawn_through_too_few_samples() -> None:
    growth = Growth(0, 100)
    growth.add(1, 50)
    assert growth.judge(200)["is_flat"] is None


def test_a_long_series_stays_short_and_whole() -> None:
    series = Series()
    for second in range(100_000):
        series.add(second, 1.0)
    assert 100 < len(series.points) < 400
    assert series.points[0][0] == 0
    assert series.points[-1][0] > 99_000
