"""A multipart body, streamed: the audio to disk, the other fields into memory, both within bounds."""

import asyncio
import base64
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException

from auricle.audio.fetch import MIB, BoundedFile, too_large
from auricle.errors import EmptyAudio, InputError, InvalidOption
from auricle.server.speakers import REFERENCES

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_FIELDS_BYTES = 1 * MIB
"""All fields but the file and the samples of voices, together."""
MAX_REFERENCES_BYTES = 12 * MIB
"""The samples of voices of known speakers, together."""
MAX_PARTS = 512
IDLE_S = 60.0
"""A sender that is silent for so long is given up."""
RATE_WINDOW_S = 30.0
"""A sender is too slow if it is so for as long as this."""
_FLUSH_BYTES = 1 * MIB


class AudioSource(Protocol):
    """Audio that lies on disk for a request, wherever it came from."""

    @property
    def path(self) -> Path: ...
    @property
    def size(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    @property
    def keep(self) -> Callable[[], Callable[[], None]]:
        """Keeps the file beyond the request, until what the call returns is called."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The fields in the order they came; the audio lies at ``path`` as long as the form is open, or it is kept."""

    path: Path
    size: int
    sha256: str
    """Of the audio's bytes, in hex."""
    fields: tuple[tuple[str, str], ...]
    keep: Callable[[], Callable[[], None]]
    """Keeps the audio beyond the form, until what this returns is called."""
    file_name: str | None = None
    """What the sender calls the file; fit for being told back, and for nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentForm:
    """A form whose audio may be missing, as long as it is open."""

    file: BoundedFile | None
    fields: tuple[tuple[str, str], ...]
    file_name: str | None


@asynccontextmanager
async def read_form(
    request: Request, *, folder: Path, max_bytes: int, min_bytes_s: float = 0.0, field: str = "file"
) -> AsyncGenerator[Form]:
    """Read the body of ``request``, keep its part ``field`` in ``folder`` and remove it at the end, come what may.

    Raises InvalidOption where there is no such part, and what ``read_any_form`` raises.
    """
    async with read_any_form(request, folder=folder, max_bytes=max_bytes, min_bytes_s=min_bytes_s, field=field) as sent:
        file = sent.file
        if file is None:
            seen = ", ".join(dict.fromkeys(name for name, _ in sent.fields)) or "none"
            raise InvalidOption(f"The form has no part named {field!r} (parts seen: {seen[:200]}).", param=field)
        yield Form(
            path=file.path,
            size=file.size,
            sha256=file.sha256,
            fields=sent.fields,
            keep=file.keep,
            file_name=sent.file_name,
        )


@asynccontextmanager
async def read_any_form(
    request: Request, *, folder: Path, max_bytes: int, min_bytes_s: float = 0.0, field: str = "file"
) -> AsyncGenerator[SentForm]:
    """As ``read_form``, but the part ``field`` may be missing.

    Raises AudioTooLarge, EmptyAudio, InputError for a body that is not the form that is asked for, HTTPException
    408 where the sender falls silent or sends less than ``min_bytes_s`` a second, and starlette's ClientDisconnect
    where it leaves.
    """
    boundary = _boundary(request, field)
    announced = announced_bytes(request)
    max_body = max_bytes + 2 * MAX_FIELDS_BYTES
    if announced is not None and announced > max_body + MAX_REFERENCES_BYTES:
        raise too_large(max_bytes, announced)
    async with AsyncExitStack() as stack:
        parts = _Parts(
            field,
            lambda: stack.enter_context(BoundedFile(folder, max_bytes=max_bytes, announced_bytes=announced)),
        )
        try:
            parser = MultipartParser(boundary, parts.callbacks())
            received = 0
            async for chunk in body_chunks(request, min_bytes_s):
                received += len(chunk)
                if received > max_body + parts.reference_bytes:
                    raise too_large(max_bytes, announced)
                parser.write(chunk)
                if len(parts.pending) >= _FLUSH_BYTES:
                    await asyncio.to_thread(parts.flush)
        except FormParserError as exc:
            raise InputError(f"The multipart body cannot be read: {exc}.") from exc
        if not parts.ended:
            raise InputError("The multipart body breaks off before its last boundary.")
        if parts.file is not None:
            await asyncio.to_thread(parts.flush)
            if parts.file.size == 0:
                raise EmptyAudio("The file is empty.", param=field)
            await asyncio.to_thread(parts.file.finish)
        yield SentForm(file=parts.file, fields=tuple(parts.fields), file_name=parts.file_name)


class _Parts:
    """Takes the parser's calls and keeps what they tell; ``pending`` is file data that is not on disk yet."""

    def __init__(self, field: str, open_file: Callable[[], BoundedFile]) -> None:
        self.file: BoundedFile | None = None
        self.file_name: str | None = None
        self.fields: list[tuple[str, str]] = []
        self.pending = bytearray()
        self.ended = False
        self.reference_bytes = 0
        self._field = field
        self._open_file = open_file
        self._count = 0
        self._field_bytes = 0
        self._is_reference = False
        self._is_file = False
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._name = ""
        self._value = bytearray()

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_header_name,
            "on_header_value": self._add_header_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_data,
            "on_part_end": self._end,
            "on_end": self._end_form,
        }

    def flush(self) -> None:
        """Write the pending file data; blocks."""
        if self.file is not None:
            self.file.write(bytes(self.pending))
            self.pending.clear()

    def _begin(self) -> None:
        self._count += 1
        if self._count > MAX_PARTS:
            raise InputError(f"The form has more than {MAX_PARTS} parts.")
        self._disposition = b""
        self._value = bytearray()

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _end_headers(self) -> None:
        parameters = parse_options_header(self._disposition)[1]
        raw_name = parameters.get(b"name")
        if not raw_name:
            raise InputError("A part of the form has no name in its Content-Disposition header.")
        self._name = _decode(raw_name, "the name of a part")
        self._is_reference = self._name.removesuffix("[]") == REFERENCES
        self._is_file = b"filename" in parameters
        if self._name == self._field:
            if self.file is not None:
                raise InvalidOption(
                    f"The form has more than one part named {self._name!r}; send one a request.", param=self._name
                )
            self.file = self._open_file()
            if b"filename" in parameters:
                self.file_name = parameters[b"filename"].decode("utf-8", "replace")

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._name == self._field:
            self.pending += data[start:end]
            return
        if self._is_reference:
            self.reference_bytes += end - start
            if self.reference_bytes > MAX_REFERENCES_BYTES:
                raise InvalidOption(
                    f"{REFERENCES} hold more than {MAX_REFERENCES_BYTES // MIB} MiB together; send shorter samples, or "
                    "compressed ones.",
                    param=REFERENCES,
                )
            self._value += data[start:end]
            return
        self._field_bytes += end - start
        if self._field_bytes > MAX_FIELDS_BYTES:
            raise InputError(
                f"The fields besides the file hold more than {MAX_FIELDS_BYTES // MIB} MiB (reached in "
                f"{self._name[:40]!r}); the audio belongs into the part named {self._field!r}."
            )
        self._value += data[start:end]

    def _end(self) -> None:
        if self._name == self._field:
            return
        if self._is_reference and self._is_file:
            # As those are sent that come as texts.
            self.fields.append((self._name, "data:;base64," + base64.b64encode(self._value).decode()))
        else:
            self.fields.append((self._name, _decode(bytes(self._value), f"the field {self._name[:40]!r}")))

    def _end_form(self) -> None:
        self.ended = True


async def body_chunks(request: Request, min_bytes_s: float) -> AsyncIterator[bytes]:
    """The body as it comes; raises HTTPException 408 and ClientDisconnect as ``read_form`` does."""
    stream = aiter(request.stream())
    # Only the time that is spent waiting for the sender counts, so that a slow disk is not its fault.
    waited_s, received = 0.0, 0
    while True:
        due = received < min_bytes_s * RATE_WINDOW_S
        limit_s = min(IDLE_S, RATE_WINDOW_S - waited_s) if due else IDLE_S
        began = time.monotonic()
        try:
            async with asyncio.timeout(limit_s):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise HTTPException(408, _too_slow(limit_s, received, min_bytes_s)) from None
        waited_s += time.monotonic() - began
        received += len(chunk)
        if waited_s >= RATE_WINDOW_S:
            if received < min_bytes_s * RATE_WINDOW_S:
                raise HTTPException(408, _too_slow(RATE_WINDOW_S, received, min_bytes_s))
            waited_s, received = 0.0, 0
        yield chunk


def _too_slow(waited_s: float, received: int, min_bytes_s: float) -> str:
    if waited_s >= IDLE_S or not min_bytes_s:
        return f"Nothing of the body arrived for {waited_s:g} s."
    return (
        f"The body arrives too slowly: {received} bytes in {RATE_WINDOW_S:g} s, where {min_bytes_s / 1024:g} KiB/s is "
        "the least (AURICLE_MIN_UPLOAD_KB_S)."
    )


def _boundary(request: Request, field: str) -> bytes:
    content_type, parameters = parse_options_header(request.headers.get("content-type"))
    if content_type != b"multipart/form-data":
        given = content_type.decode("latin-1")[:80] or "none"
        raise InputError(
            f"The body must be multipart/form-data with a part named {field!r} (Content-Type given: {given}). "
            f"With curl: -F {field}=@audio.mp3"
        )
    boundary = parameters.get(b"boundary")
    if not boundary:
        raise InputError("The Content-Type multipart/form-data names no boundary; let the HTTP library set the header.")
    return boundary


def announced_bytes(request: Request) -> int | None:
    """Size of the body by its header, where that makes sense."""
    value = request.headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() else None


def _decode(raw: bytes, what: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise InputError(f"The form is not UTF-8 in {what}.") from exc
