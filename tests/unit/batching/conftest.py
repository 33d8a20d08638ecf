"""Fixtures of the tests of the scheduler."""

from collections.abc import AsyncIterator

import pytest
from scheduler_bench import Bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.scheduler.close()
