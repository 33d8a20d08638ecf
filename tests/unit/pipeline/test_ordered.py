import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from auricle.pipeline.ordered import map_in_order


async def numbers(count: int, seen: list[int] | None = None) -> AsyncIterator[int]:
    for number in range(count):
        if seen is not None:
            seen.append(number)
        yield number


async def test_results_come_in_order_though_later_items_finish_first():
    async def work(number: int) -> int:
        await asyncio.sleep((5 - number) * 0.002)
        return number * 10

    assert [r async for r in map_in_order(numbers(5), work, limit=5)] == [0, 10, 20, 30, 40]


async def test_no_more_than_the_limit_run_at_once_and_the_source_is_read_no_further():
    running, most, read = 0, 0, list[int]()
    most_ahead = 0

    async def work(number: int) -> int:
        nonlocal running, most, most_ahead
        running += 1
        most = max(most, running)
        most_ahead = max(most_ahead, len(read) - number)
        await asyncio.sleep(0.001)
        running -= 1
        return number

    assert [r async for r in map_in_order(numbers(20, read), work, limit=3)] == list(range(20))
    assert most == 3
    assert most_ahead <= 3


async def test_an_error_is_raised_in_its_turn_and_cancels_the_rest():
    cancelled = list[int]()

    async def work(number: int) -> int:
        if number == 1:
            await asyncio.sleep(0.005)
            raise ValueError("bad item")
        try:
            await asyncio.sleep(0.005 if number == 0 else 60)
        except asyncio.CancelledError:
            cancelled.append(number)
            raise
        return number

    got = list[int]()
    with pytest.raises(ValueError, match="bad item"):
        async for result in map_in_order(numbers(4), work, limit=4):
            got.append(result)
    assert got == [0]
    assert sorted(cancelled) == [2, 3]


async def test_an_error_of_the_source_is_raised_after_the_items_before_it():
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise OSError("disk gone")

    async def work(number: int) -> int:
        return number

    got = list[int]()
    with pytest.raises(OSError, match="disk gone"):
        async for result in map_in_order(broken(), work, limit=2):
            got.append(result)
    assert got == [1]


async def test_closing_early_cancels_what_still_runs():
    ended = list[int]()

    async def work(number: int) -> int:
        try:
            await asyncio.sleep(60 if number else 0.005)
        finally:
            ended.append(number)
        return number

    async with aclosing(map_in_order(numbers(3), work, limit=3)) as results:
        assert await anext(results) == 0
    assert sorted(ended) == [0, 1, 2]
