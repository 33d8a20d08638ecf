"""Fixtures of the contract suite."""

from collections.abc import AsyncIterator
from importlib.util import find_spec

import pytest
import pytest_asyncio
from databases import database_url, postgres
from engine_under_test import NANO, PACKAGES, EngineUnderTest, config_of

from auricle.batching.replica import Replica
from auricle.tokenizer import Tokenizer

__all__ = ["database_url", "postgres"]


@pytest.fixture(params=sorted(PACKAGES), scope="module")
def engine_name(request: pytest.FixtureRequest) -> str:
    if find_spec(PACKAGES[request.param]) is None:
        pytest.skip(f"{PACKAGES[request.param]} is not installed")
    return request.param


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(engine_name: str) -> AsyncIterator[EngineUnderTest]:
    replica = Replica(config_of(engine_name))
    info = await replica.start()
    yield EngineUnderTest(replica=replica, info=info, tokenizer=Tokenizer(NANO))
    await replica.close()
