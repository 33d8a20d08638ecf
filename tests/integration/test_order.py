"""Who goes first on a real server, told by the number of rows that were decoded meanwhile."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from live_server import DIGITS, MINUTE
from slow_server import SlowServer, slow_server

from auricle.audio.decode import decode_audio
from auricle.units import SAMPLE_RATE


@pytest.fixture(scope="module")
def five_minutes() -> bytes:
    return minutes(5)


def minutes(count: int) -> bytes:
    """A WAV file of the minute of speech, over and over."""
    samples = np.concatenate([*decode_audio(MINUTE)] * count)
    data = (samples * 32767).astype("<i2").tobytes()
    head = b"RIFF" + (36 + len(data)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    head += b"\x01\x00\x01\x00" + SAMPLE_RATE.to_bytes(4, "little") + (2 * SAMPLE_RATE).to_bytes(4, "little")
    return head + b"\x02\x00\x10\x00" + b"data" + len(data).to_bytes(4, "little") + data


async def test_a_clip_overtakes_four_long_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, five_minutes: bytes
) -> None:
    async with slow_server(tmp_path, monkeypatch, row_s=0.2) as server:
        files = [asyncio.create_task(server.ask(five_minutes)) for _ in range(4)]
        await server.wait_for_windows(16)
        before = server.windows
        clip = await server.ask(DIGITS.read_bytes())
        meanwhile = server.windows - before
        assert clip.status_code == 200
        assert not any(file.done() for file in files)
        # Its own two rows (language, text), the batch that ran when it came, and one that may begin while the clip is
        # being decoded and measured.
        assert meanwhile <= 2 + 4 + 4
        answers = await asyncio.gather(*files)
        assert {answer.status_code for answer in answers} == {200}
        assert server.windows - before >= 20, "there was something to overtake"


async def test_a_batch_class_request_lets_one_that_came_later_go_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    minute = MINUTE.read_bytes()
    async with slow_server(tmp_path, monkeypatch, row_s=0.2) as server:
        patient = [asyncio.create_task(server.ask(minute, x_auricle_priority="batch")) for _ in range(6)]
        await server.wait_for_windows(2)
        urgent = await server.ask(minute)
        assert sum(task.done() for task in patient) <= 2, "the others were all there before it"
        answers = await asyncio.gather(*patient)
        assert {answer.json()["text"] for answer in answers} == {urgent.json()["text"]}


async def test_one_request_of_a_caller_gets_its_share_beside_twenty_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, five_minutes: bytes
) -> None:
    """C6: at least 0.9 of its fair share, which is half of the rows while both want them."""
    async with slow_server(tmp_path, monkeypatch, row_s=0.1) as server:
        greedy = [asyncio.create_task(server.ask(five_minutes)) for _ in range(20)]
        await server.wait_for_windows(30)
        alone = await rows_of(server, five_minutes)
        for task in greedy:
            task.cancel()
        await asyncio.gather(*greedy, return_exceptions=True)
    assert alone >= 0.9 / 2


async def rows_of(server: SlowServer, audio: bytes) -> float:
    """Share of all rows that a request from another address gets from its first answer to its last."""
    rows = 0
    first = last = 0
    scheduler = server.runtime.models.loaded()[0].recognizer
    decode = scheduler.decode

    async def counted(row, request, *, remaining_s):
        nonlocal rows, first, last
        answer = await decode(row, request, remaining_s=remaining_s)
        if request.caller == "127.0.0.2":
            rows, last = rows + 1, server.windows
            first = first or last
        return answer

    scheduler.decode = counted
    try:
        assert (await server.ask(audio, address="127.0.0.2")).status_code == 200
    finally:
        scheduler.decode = decode
    return rows / max(1, last - first + 1)
