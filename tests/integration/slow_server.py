"""The whole server in the test's own event loop, around a real engine process that takes its time over each row."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from auricle import runtime as composition
from auricle.batching.replica import Replica, start_replica
from auricle.config import Settings
from auricle.engines.base import EngineConfig
from auricle.runtime import Runtime, open_runtime
from auricle.server.app import create_app, listen
from auricle.server.context import Context

PATH = "/v1/audio/transcriptions"


class _QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self):
        yield


@dataclass(frozen=True)
class SlowServer:
    url: str
    runtime: Runtime
    context: Context

    @property
    def windows(self) -> int:
        """Rows decoded so far."""
        return int(self.runtime.metrics.registry.get_sample_value("auricle_windows_total") or 0)

    async def wait_for_windows(self, count: int) -> None:
        while self.windows < count:  # noqa: ASYNC110
            await asyncio.sleep(0.002)

    async def ask(self, audio: bytes, *, address: str = "127.0.0.1", **headers: str) -> httpx.Response:
        """One request from ``address``, whose result is neither taken from the cache nor shared."""
        transport = httpx.AsyncHTTPTransport(local_address=address)
        async with httpx.AsyncClient(base_url=self.url, timeout=120, transport=transport) as client:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.post(PATH, files={"file": audio}, headers={"cache-control": "no-store"} | named)


@asynccontextmanager
async def slow_server(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    row_s: float,
    options: Mapping[str, str] | None = None,
    **settings: Any,
) -> AsyncIterator[SlowServer]:
    async def start(config: EngineConfig) -> Replica:
        return await start_replica(replace(config, options={"step_delay_s": str(row_s), **(options or {})}))

    monkeypatch.setattr(composition, "start_replica", start)
    values: dict[str, Any] = {"engine": "fake", "model": "nano", "data_dir": folder, "max_batch": 4} | settings
    runtime = open_runtime(Settings(**values))
    app = create_app(runtime=runtime)
    listener = listen("127.0.0.1", 0)
    server = _QuietServer(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=5))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        yield SlowServer(
            url=f"http://127.0.0.1:{listener.getsockname()[1]}", runtime=runtime, context=app.state.context
        )
    finally:
        server.should_exit = True
        await serving
