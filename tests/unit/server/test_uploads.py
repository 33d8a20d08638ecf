"""The multipart reader, fed with hand-made bodies in arbitrary pieces."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest
from fastapi import Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from auricle.errors import AudioTooLarge, EmptyAudio, InputError, InvalidOption
from auricle.server import uploads
from auricle.server.uploads import read_form

MULTIPART = "multipart/form-data; boundary=XX"


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def part(name: str | bytes, data: bytes, extra: str = "") -> bytes:
    raw_name = name if isinstance(name, bytes) else name.encode()
    return (
        b'--XX\r\nContent-Disposition: form-data; name="'
        + raw_name
        + b'"'
        + extra.encode()
        + b"\r\n\r\n"
        + data
        + b"\r\n"
    )


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--XX--\r\n"


def request(chunks: list[bytes], *, content_type: str | None = MULTIPART, length: int | None = None) -> Request:
    headers = [(b"content-type", content_type.encode())] if content_type else []
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> dict:
        return messages.pop(0)

    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


async def read(folder: Path, *chunks: bytes, max_bytes: int = 1000, **more) -> tuple[bytes, tuple]:
    async with read_form(request(list(chunks), **more), folder=folder, max_bytes=max_bytes) as form:
        assert form.path.stat().st_size == form.size
        return form.path.read_bytes(), form.fields


async def refuse(kind: type[Exception], folder: Path, *chunks: bytes, **more) -> str:
    with pytest.raises(kind) as caught:
        await read(folder, *chunks, **more)
    assert files_in(folder) == []
    return str(caught.value)


async def test_the_file_lies_on_disk_while_the_form_is_open_and_is_gone_after(tmp_path: Path) -> None:
    whole = body(
        part("model", b"m"), part("file", b"\0audio\r\n--X", '; filename="a.wav"'), part("prompt", "ü".encode())
    )
    audio, fields = await read(tmp_path, whole)
    assert audio == b"\0audio\r\n--X"
    assert fields == (("model", "m"), ("prompt", "ü"))
    assert files_in(tmp_path) == []


async def test_a_file_part_needs_no_filename(tmp_path: Path) -> None:
    assert (await read(tmp_path, body(part("file", b"audio"))))[0] == b"audio"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(cuts=st.lists(st.integers(0, 200), max_size=20), audio=st.binary(min_size=1, max_size=60))
def test_it_does_not_matter_how_the_body_is_cut_into_pieces(tmp_path: Path, cuts: list[int], audio: bytes) -> None:
    if b"\r\n--XX" in audio:
        return
    whole = body(part("file", audio), part("language", b"de"))
    edges = [0, *sorted(cuts), len(whole)]
    pieces = [whole[start:end] for start, end in pairwise(edges)]
    assert asyncio.run(read(tmp_path, *pieces)) == (audio, (("language", "de"),))


async def test_a_file_over_the_limit_is_refused_while_it_arrives(tmp_path: Path) -> None:
    sender = request([part("file", b"x")[:-2], *([b"x" * 65_536] * 1000)])
    with pytest.raises(AudioTooLarge, match="at most 1 MiB"):
        async with read_form(sender, folder=tmp_path, max_bytes=1 << 20):
            pass
    assert await sender.receive() == {"type": "http.request", "body": b"x" * 65_536, "more_body": True}
    assert files_in(tmp_path) == []


async def test_a_file_of_exactly_the_limit_is_taken(tmp_path: Path) -> None:
    assert len((await read(tmp_path, body(part("file", b"x" * 1000)), max_bytes=1000))[0]) == 1000


async def test_an_announced_length_over_the_limit_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    text = await refuse(AudioTooLarge, tmp_path, max_bytes=5 << 20, length=50 << 20)
    assert "50.0 MiB" in text
    assert "5 MiB" in text


async def test_rubbish_after_the_last_boundary_is_bounded_too(tmp_path: Path) -> None:
    await refuse(AudioTooLarge, tmp_path, body(part("file", b"x")), *([b"y" * (1 << 20)] * 3), max_bytes=1000)


async def test_fields_are_bounded_together(tmp_path: Path) -> None:
    halves = [part(name, b"x" * 600_000) for name in ("prompt", "audio")]
    text = await refuse(InputError, tmp_path, body(*halves, part("file", b"x")))
    assert "'audio'" in text


async def test_the_number_of_parts_is_bounded(tmp_path: Path) -> None:
    await refuse(InputError, tmp_path, body(*[part("a", b"")] * 600))


async def test_a_flood_of_part_headers_is_refused(tmp_path: Path) -> None:
    flood = "".join(f"\r\nX-{index}: y" for index in range(1000))
    await refuse(InputError, tmp_path, body(part("file", b"x", flood)))
    await refuse(InputError, tmp_path, body(part("file", b"x", "\r\nX-Long: " + "y" * 100_000)))


@pytest.mark.parametrize(
    ("chunks", "kind", "words"),
    [
        ([body(part("model", b"m"))], InvalidOption, "no part named 'file' (parts seen: model)"),
        ([b"--XX--\r\n"], InvalidOption, "parts seen: none"),
        ([body(part("file", b""))], EmptyAudio, "empty"),
        ([body(part("file", b"a"), part("file", b"b"))], InvalidOption, "more than one"),
        ([part("file", b"audio")], InputError, "breaks off"),
        ([], InputError, "breaks off"),
        ([b"--YY\r\nnot our boundary"], InputError, "cannot be read"),
        ([b"just bytes"], InputError, "cannot be read"),
        ([body(part(b"\xff\xfe", b"x"))], InputError, "not UTF-8"),
        ([body(part("prompt", b"\xff\xfe"))], InputError, "'prompt'"),
        ([b"--XX\r\nContent-Type: text/plain\r\n\r\nx\r\n--XX--\r\n"], InputError, "no name"),
    ],
)
async def test_a_broken_form_is_refused_and_leaves_no_file(
    tmp_path: Path, chunks: list[bytes], kind: type[Exception], words: str
) -> None:
    assert words in await refuse(kind, tmp_path, *chunks)


@pytest.mark.parametrize("content_type", [None, "application/json", "audio/wav", "multipart/form-data", "\xff"])
async def test_another_kind_of_body_is_refused_with_a_hint(tmp_path: Path, content_type: str | None) -> None:
    await refuse(InputError, tmp_path, b"{}", content_type=content_type)


async def test_a_sender_that_falls_silent_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "IDLE_S", 0.01)
    messages = [{"type": "http.request", "body": part("file", b"x"), "more_body": True}]

    async def receive() -> dict:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop()

    with pytest.raises(HTTPException) as caught:
        async with read_form(Request(request([]).scope, receive), folder=tmp_path, max_bytes=100):
            pass
    assert caught.value.status_code == 408
    assert files_in(tmp_path) == []


async def test_a_sender_that_leaves_in_the_middle_leaves_no_file(tmp_path: Path) -> None:
    messages = [
        {"type": "http.request", "body": part("file", b"x" * 50), "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict:
        return messages.pop(0)

    with pytest.raises(ClientDisconnect):
        async with read_form(Request(request([]).scope, receive), folder=tmp_path, max_bytes=100):
            pass
    assert files_in(tmp_path) == []


async def test_an_error_while_the_form_is_open_removes_the_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with read_form(request([body(part("file", b"x"))]), folder=tmp_path, max_bytes=100):
            raise ZeroDivisionError
    assert files_in(tmp_path) == []
