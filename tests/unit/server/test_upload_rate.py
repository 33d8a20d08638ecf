"""Senders that are too slow, in windows of milliseconds."""

import asyncio
from pathlib import Path

import pytest
from fastapi import Request
from starlette.exceptions import HTTPException

from auricle.server import uploads
from auricle.server.uploads import read_form

HEAD = b'--XX\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
TAIL = b"\r\n--XX--\r\n"


def request(chunks: list[bytes], *, pause_s: float) -> Request:
    left = [*chunks]

    async def receive() -> dict:
        await asyncio.sleep(pause_s)
        chunk = left.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(left)}

    headers = [(b"content-type", b"multipart/form-data; boundary=XX")]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


async def receive(folder: Path, chunks: list[bytes], *, pause_s: float, min_bytes_s: float) -> int:
    sender = request(chunks, pause_s=pause_s)
    async with read_form(sender, folder=folder, max_bytes=1 << 20, min_bytes_s=min_bytes_s) as form:
        return form.size


@pytest.fixture(autouse=True)
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "RATE_WINDOW_S", 0.05)


async def test_a_sender_that_trickles_is_given_up_although_it_is_never_silent(tmp_path: Path) -> None:
    with pytest.raises(HTTPException) as caught:
        await receive(tmp_path, [HEAD, *([b"x"] * 10_000), TAIL], pause_s=0.002, min_bytes_s=1e6)
    assert caught.value.status_code == 408
    assert "AURICLE_MIN_UPLOAD_KB_S" in caught.value.detail
    assert list(tmp_path.iterdir()) == []


async def test_a_sender_that_stops_is_given_up_at_the_end_of_the_window(tmp_path: Path) -> None:
    with pytest.raises(HTTPException) as caught:
        await receive(tmp_path, [HEAD, TAIL], pause_s=600, min_bytes_s=1e6)
    assert caught.value.status_code == 408


async def test_a_sender_that_is_fast_enough_may_take_many_windows(tmp_path: Path) -> None:
    assert await receive(tmp_path, [HEAD, *([b"x"] * 100), TAIL], pause_s=0.002, min_bytes_s=0.1) == 100


async def test_an_upload_that_is_done_within_the_first_window_is_taken_whatever_its_rate(tmp_path: Path) -> None:
    assert await receive(tmp_path, [HEAD + b"x" + TAIL], pause_s=0.0, min_bytes_s=1e12) == 1


async def test_without_a_limit_only_silence_counts(tmp_path: Path) -> None:
    assert await receive(tmp_path, [HEAD, *([b"x"] * 50), TAIL], pause_s=0.002, min_bytes_s=0.0) == 50
