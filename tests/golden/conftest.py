"""Runs of the whole pipeline on the sample recordings, with the embedded model in a real engine process."""

from collections.abc import AsyncGenerator

import pytest_asyncio

from auricle.config import Settings
from auricle.runtime import Runtime, open_runtime


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def runtime() -> AsyncGenerator[Runtime, None]:
    opened = open_runtime(Settings(model="nano", engine="ct2", compute_type="float32"))
    yield opened
    await opened.close()
