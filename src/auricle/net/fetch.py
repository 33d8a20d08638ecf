"""A file from a URL that a stranger names: whence, how much and how long is bounded. What it is, the decoder says."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from auricle.errors import EmptyAudio, UrlRefused, UrlUnreachable
from auricle.net.addresses import BUCKET_SCHEMES, Allowlist
from auricle.net.client import Resolve, guarded_client
from auricle.net.cloud import read_object
from auricle.net.data_url import parse_data_url
from auricle.net.sink import Filling, Sink
from auricle.net.transfer import BrokenTransfer, Transfer
from auricle.net.urls import HTTP_SCHEMES, check_url, parse_bucket_url, scheme_of, shown_url

RETRY_DELAYS_S = (0.5, 2.0, 8.0)
"""Pauses before a transfer that broke, or a server that had trouble, is tried again."""
_SILENCE_S = 30.0

S = TypeVar("S", bound=Sink)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedFile(Generic[S]):
    """What was fetched; ``file`` is closed by the caller."""

    file: S
    media_type: str
    """As the sender calls it, in small letters; may be empty or wrong."""
    final_url: str
    """Where the redirects led to, without credentials and query."""


async def fetch_url(
    url: str,
    open_file: Callable[[], S],
    *,
    allow: Allowlist,
    max_bytes: int,
    timeout_s: float,
    min_bytes_s: float = 0.0,
    resume: bool = True,
    resolve: Resolve | None = None,
) -> FetchedFile[S]:
    """Fetch ``http(s)://``, ``data:``, ``s3://``, ``gs://`` or ``az://`` into a file of ``open_file``.

    With ``resume``, a transfer that breaks is taken up where it broke, or begun anew where the server cannot do that,
    a few times. ``timeout_s`` bounds all of it; a web server that sends less than ``min_bytes_s`` a second is given up
    before. ``resolve`` takes the place of DNS. When it fails, no file is left open. Raises InvalidOption, ForbiddenUrl,
    UrlUnreachable, UrlRefused, AudioTooLarge, EmptyAudio, UnsupportedOption where the extra ``cloud`` is missing, and
    what ``open_file`` and its file raise.
    """
    check_url(url, allow)
    try:
        async with asyncio.timeout(timeout_s):
            if scheme_of(url) in HTTP_SCHEMES:
                async with guarded_client(allow, timeout_s=_SILENCE_S, resolve=resolve) as client:
                    transfer = Transfer(client, open_file, allow=allow, max_bytes=max_bytes, min_bytes_s=min_bytes_s)
                    fetched = await _fetch_http(url, transfer, RETRY_DELAYS_S if resume else ())
            else:
                fetched = await _fetch_other(url, open_file, allow, max_bytes)
    except TimeoutError as exc:
        raise UrlRefused(
            f"The URL took longer than {timeout_s:g} s, which is the limit (AURICLE_MAX_URL_S).", param="url"
        ) from exc
    if fetched.file.size == 0:
        fetched.file.close()
        raise EmptyAudio("There is nothing behind the URL: its body is empty.", param="url")
    return fetched


async def _fetch_http(url: str, transfer: Transfer[S], delays_s: Sequence[float]) -> FetchedFile[S]:
    delays = iter(delays_s)
    try:
        while True:
            try:
                return await _finish(transfer, url)
            except BrokenTransfer as exc:
                delay_s = next(delays, None)
                if delay_s is None:
                    raise UrlUnreachable(f"The URL cannot be fetched: {exc}.", param="url") from exc
                await asyncio.sleep(delay_s)
    except BaseException:
        transfer.close()
        raise


async def _finish(transfer: Transfer[S], url: str) -> FetchedFile[S]:
    final = await transfer.run(url)
    await asyncio.to_thread(transfer.file.finish)
    return FetchedFile(file=transfer.file, media_type=transfer.media_type, final_url=shown_url(str(final)))


async def _fetch_other(url: str, open_file: Callable[[], S], allow: Allowlist, max_bytes: int) -> FetchedFile[S]:
    file = open_file()
    try:
        filling = Filling(file, max_bytes)
        media_type = ""
        if scheme_of(url) in BUCKET_SCHEMES:
            scheme, bucket, key = parse_bucket_url(url, allow)
            await read_object(scheme, bucket, key, filling, max_bytes=max_bytes)
        else:
            media_type, data = await asyncio.to_thread(parse_data_url, url, max_bytes=max_bytes)
            await filling.add(data)
        await filling.flush()
        await asyncio.to_thread(file.finish)
    except BaseException:
        file.close()
        raise
    return FetchedFile(file=file, media_type=media_type, final_url=shown_url(url))
