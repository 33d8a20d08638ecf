"""Real processes, really killed: no request is lost, and no process stays behind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

import auricle
from auricle.batching.metrics import Metrics
from auricle.batching.replica import start_replica
from auricle.batching.scheduler import Scheduler
from auricle.engines.base import EngineConfig
from auricle.errors import EngineFailed
from auricle.tokenizer import Tokenizer
from auricle.types import Answer, DecodingOptions, RequestInfo, Row

NANO = Path(auricle.__file__).parent / "models" / "nano"


def config_of(engine: str, **options: str) -> EngineConfig:
    return EngineConfig(engine=engine, model_name="nano", model_path=NANO, device="cpu", threads=1, options=options)


def row(key: str) -> Row:
    """The prompt is that of English without timestamps."""
    prompt = Tokenizer(NANO).sequence(language="en", task="transcribe", timestamps=False, multilingual=True)
    features = np.random.default_rng(0).normal(size=(80, 3000)).astype(np.float32)
    return Row(key=key, features=features, prompt=prompt, options=DecodingOptions(without_timestamps=True))


class Service:
    """A scheduler over a real engine process."""

    def __init__(self, config: EngineConfig) -> None:
        self.metrics = Metrics()
        self.scheduler = Scheduler(partial(start_replica, config), metrics=self.metrics)

    def ask(self, *keys: str) -> list[asyncio.Task[Answer]]:
        return [
            asyncio.create_task(self.scheduler.decode(row(key), RequestInfo(request_id=key), remaining_s=1.0))
            for key in keys
        ]

    def kill(self) -> int:
        pid = self.scheduler.pids[0]
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        return pid

    @property
    def restarts(self) -> float | None:
        return self.metrics.registry.get_sample_value("auricle_engine_restarts_total")


@pytest.fixture
async def services() -> AsyncIterator[list[Service]]:
    opened: list[Service] = []
    yield opened
    for service in opened:
        await service.scheduler.close()


async def open_service(services: list[Service], engine: str, **options: str) -> Service:
    service = Service(config_of(engine, **options))
    services.append(service)
    await service.scheduler.start()
    return service


@pytest.mark.parametrize(("engine", "options"), [("fake", {"step_delay_s": "0.2"}), ("ct2", {})])
async def test_kill_9_of_the_engine_during_requests_loses_none(
    services: list[Service], engine: str, options: dict[str, str]
):
    service = await open_service(services, engine, **options)
    requests = service.ask("a", "b", "c")
    await asyncio.sleep(0.1)
    assert not any(request.done() for request in requests), "the kill would come too late"
    killed = service.kill()
    answers = await asyncio.gather(*requests)
    assert len({answer.decoding.tokens for answer in answers}) == 1
    assert service.scheduler.pids[0] not in (None, killed)
    assert service.restarts == 1


async def test_kill_9_of_an_idle_engine_is_noticed_and_the_next_request_succeeds(services: list[Service]):
    service = await open_service(services, "fake")
    killed = service.kill()
    while service.scheduler.alive:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await asyncio.gather(*service.ask("a"))
    assert service.scheduler.pids[0] not in (None, killed)


async def test_a_request_made_right_after_the_kill_succeeds(services: list[Service]):
    service = await open_service(services, "fake")
    service.kill()
    await asyncio.gather(*service.ask("a"))
    assert service.restarts == 1


async def test_a_row_that_kills_every_engine_fails_alone(services: list[Service]):
    service = await open_service(services, "fake", crash_on_key="bad")
    answers = await asyncio.gather(*service.ask("a", "b", "bad", "c"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Answer, Answer, EngineFailed, Answer]
    assert isinstance(answers[2], EngineFailed)
    assert "exit status 70" in answers[2].message


async def test_unloading_ends_the_process(services: list[Service]):
    service = await open_service(services, "fake")
    pid = service.scheduler.pids[0]
    assert pid is not None
    await service.scheduler.close()
    assert not psutil.pid_exists(pid)


PARENT = """
import asyncio, sys, time
from pathlib import Path
from auricle.batching.replica import start_replica
from auricle.engines.base import EngineConfig
import numpy as np
from auricle.types import DecodingOptions, Row

async def main():
    options = {"step_delay_s": "600"}
    config = EngineConfig(engine="fake", model_name="m", model_path=Path(), options=options)
    replica = await start_replica(config)
    row = Row(key="k", features=np.zeros((80, 10), np.float32), prompt=(), options=DecodingOptions())
    work = asyncio.create_task(replica.decode([row], print)) if sys.argv[1] == "busy" else None
    await asyncio.sleep(0.2)
    print(replica.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_an_engine_whose_parent_is_killed_ends_by_itself(state: str):
    with subprocess.Popen([sys.executable, "-c", PARENT, state], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        engine = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    psutil.wait_procs([engine], timeout=20)
    assert not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE
