"""The whole server over an engine whose rows join and leave at any step."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest
from slow_server import PATH, SlowServer, slow_server

from samples import SAMPLES

CLIPS = sorted(SAMPLES.glob("0*.wav"))[:4]
JOINS = {"joins": "true"}


def value(server: SlowServer, name: str) -> float:
    return server.runtime.metrics.registry.get_sample_value(name) or 0.0


async def texts(server: SlowServer, copies: int = 1) -> list[str]:
    answers = await asyncio.gather(*(server.ask(clip.read_bytes()) for clip in CLIPS * copies))
    assert [answer.text for answer in answers if answer.status_code != 200] == []
    return [answer.json()["text"] for answer in answers]


async def test_answers_are_those_of_batches_also_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with slow_server(tmp_path / "a", monkeypatch, row_s=0.0) as server:
        expected = await texts(server)
    async with slow_server(tmp_path / "b", monkeypatch, row_s=0.01, options=JOINS, max_batch=16) as server:
        asking = asyncio.create_task(texts(server, copies=4))
        await server.wait_for_windows(6)
        async with server.runtime.models.lease() as model:
            (pid,) = model.recognizer.pids
        os.kill(pid, signal.SIGKILL)
        assert await asking == expected * 4
        assert value(server, "auricle_engine_restarts_total") == 1
        assert value(server, "auricle_slot_steps_total") >= value(server, "auricle_steps_total") > 0


async def test_a_client_that_leaves_gives_up_its_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with slow_server(tmp_path, monkeypatch, row_s=0.2, options=JOINS, max_batch=16) as server:
        async with httpx.AsyncClient(base_url=server.url) as client:
            asking = asyncio.create_task(client.post(PATH, files={"file": CLIPS[0].read_bytes()}))
            while not value(server, "auricle_slots_used"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        while value(server, "auricle_slots_used"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert value(server, "auricle_transcriptions_total") == 0
