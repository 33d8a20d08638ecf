"""One file over HTTP, in as many tries as it takes: redirects, ranges, and what the server says about both."""

import re
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Generic, TypeVar

import httpx2

from auricle.errors import UrlRefused
from auricle.net.addresses import Allowlist
from auricle.net.sink import Filling, Sink, too_large
from auricle.net.urls import parse_http_url

MAX_REDIRECTS = 5
RATE_WINDOW_S = 30.0
"""A server is too slow if it is so for as long as this."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that another try can change."""
_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})", re.ASCII)

S = TypeVar("S", bound=Sink)


class BrokenTransfer(Exception):
    """It can go better with the next try; the message says what happened."""


class Transfer(Generic[S]):
    """Fills ``file`` in one or several runs. ``file`` is another one after a run that had to begin anew."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        open_file: Callable[[], S],
        *,
        allow: Allowlist,
        max_bytes: int,
        min_bytes_s: float,
    ) -> None:
        self._client = client
        self._open_file = open_file
        self._allow = allow
        self._max_bytes = max_bytes
        self._min_bytes_s = min_bytes_s
        self.file = open_file()
        self.media_type = ""
        self._validator = ""
        """What tells whether the file behind the URL is still the same: a strong ETag, or the date of its change."""

    def close(self) -> None:
        """Throw away what came."""
        self.file.close()

    async def run(self, url: str) -> httpx2.URL:
        """Fetch what is still missing; returns where it came from.

        Raises BrokenTransfer where another run can go on, and UrlRefused, ForbiddenUrl or AudioTooLarge.
        """
        can_go_on = self.file.size > 0 and self._validator != ""
        headers = {"range": f"bytes={self.file.size}-", "if-range": self._validator} if can_go_on else {}
        try:
            async with self._follow(url, headers) as response:
                self._begin(response)
                filling = Filling(self.file, self._max_bytes)
                try:
                    async with aclosing(self._chunks(response)) as chunks:
                        async for chunk in chunks:
                            await filling.add(chunk)
                finally:
                    await filling.flush()
                return response.url
        except httpx2.TransportError as exc:
            raise BrokenTransfer(_describe(exc)) from exc

    async def _chunks(self, response: httpx2.Response) -> AsyncGenerator[bytes]:
        """The body as it comes; what is compressed in spite of the request was refused."""
        began, received = time.monotonic(), 0
        async for chunk in response.aiter_raw():
            yield chunk
            received += len(chunk)
            if time.monotonic() - began >= RATE_WINDOW_S:
                if received < self._min_bytes_s * RATE_WINDOW_S:
                    raise UrlRefused(
                        f"The file comes too slowly: {received} bytes in {RATE_WINDOW_S:g} s, where "
                        f"{self._min_bytes_s / 1024:g} KiB/s is the least (AURICLE_MIN_UPLOAD_KB_S).",
                        param="url",
                    )
                began, received = time.monotonic(), 0

    def _begin(self, response: httpx2.Response) -> None:
        """Take what the headers say: go on with the file, or begin it."""
        status = response.status_code
        if status in _PASSING:
            raise BrokenTransfer(f"the server answered with status {status}")
        if status == 416 and self.file.size:
            raise self._begin_anew("the server has no more of the file")
        if status not in {200, 206}:
            raise UrlRefused(f"The URL cannot be fetched: the server answered with status {status}.", param="url")
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"identity", ""}:
            raise UrlRefused(
                f"The server sends the file compressed ({encoding[:20]}), which it was asked not to do.", param="url"
            )
        if status == 206:
            self._check_range(response)
        elif self.file.size:
            self.file.close()
            self.file = self._open_file()
        length = response.headers.get("content-length", "")
        is_number = length.isascii() and length.isdigit() and len(length) < 20
        announced = self.file.size + int(length) if is_number else None
        if announced is not None and announced > self._max_bytes:
            raise too_large(self._max_bytes, announced)
        self.media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()[:100]
        self._validator = _validator(response)

    def _check_range(self, response: httpx2.Response) -> None:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        if match is None or int(match[1]) != self.file.size or int(match[2]) + 1 != int(match[3]):
            raise self._begin_anew("the server sent another part of the file than it was asked for")

    def _begin_anew(self, reason: str) -> BrokenTransfer:
        self._validator = ""
        return BrokenTransfer(reason)

    @asynccontextmanager
    async def _follow(self, url: str, headers: dict[str, str]) -> AsyncGenerator[httpx2.Response]:
        """The answer at the end of the redirects. Every hop is checked like the first one."""
        place = parse_http_url(url, self._allow)
        for _ in range(MAX_REDIRECTS + 1):
            async with self._client.stream("GET", place, headers=headers) as response:
                location = response.headers.get("location")
                if response.status_code not in _REDIRECTS or location is None:
                    yield response
                    return
            place = self._next_place(place, location)
        raise UrlRefused(f"The URL leads through more than {MAX_REDIRECTS} redirects.", param="url")

    def _next_place(self, place: httpx2.URL, location: str) -> httpx2.URL:
        try:
            following = place.join(location)
            # Credentials are for the host that they were given with, and over the same kind of connection.
            userinfo = place.userinfo if _origin(following) == _origin(place) else b""
            target = str(following.copy_with(userinfo=userinfo))
        except (httpx2.InvalidURL, ValueError) as exc:
            raise UrlRefused("The URL redirects to something that is no URL.", param="url") from exc
        return parse_http_url(target, self._allow)


def _origin(url: httpx2.URL) -> tuple[bytes, bytes, int | None]:
    return url.raw_scheme, url.raw_host, url.port


def _validator(response: httpx2.Response) -> str:
    tag = response.headers.get("etag", "")
    return response.headers.get("last-modified", "") if not tag or tag.startswith("W/") else tag


def _describe(exc: httpx2.TransportError) -> str:
    if isinstance(exc, httpx2.TimeoutException):
        return "the server does not answer in time"
    return f"the connection failed ({str(exc)[:200] or type(exc).__name__})"
