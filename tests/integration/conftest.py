"""One server for all tests of the HTTP API."""

from collections.abc import Iterator

import pytest
from live_server import LiveServer, live_server
from openai import OpenAI


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("server"), max_upload_mb=2, max_audio_s=120) as live:
        yield live


@pytest.fixture(scope="session")
def client(server: LiveServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client:
        yield client
