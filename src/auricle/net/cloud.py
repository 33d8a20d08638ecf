"""Objects in cloud storage: ``s3://``, ``gs://`` and ``az://``, through fsspec and the extra ``cloud``.

The servers that are asked, and the rights to read there, come from the environment as each provider's own tools take
them. So only buckets of the allow-list are read: what the server may read is not for everyone who may ask it.
"""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

from auricle.errors import UnsupportedOption, UrlRefused, UrlUnreachable
from auricle.net.sink import Filling, too_large

_BLOCK_BYTES = 4 << 20
_MODULES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}
_ERRORS = {
    "s3": (("botocore.exceptions", "BotoCoreError"), ("botocore.exceptions", "ClientError")),
    "gs": (
        ("aiohttp", "ClientError"),
        ("google.auth.exceptions", "GoogleAuthError"),
        ("gcsfs.retry", "HttpError"),
    ),
    "az": (("azure.core.exceptions", "AzureError"),),
}
"""What the libraries raise beside OSError and ValueError: module and name."""


async def read_object(scheme: str, bucket: str, key: str, filling: Filling, *, max_bytes: int) -> None:
    """Copy an object into ``filling``.

    Raises AudioTooLarge, UnsupportedOption where the extra is not installed, and UrlUnreachable.
    """
    loop = asyncio.get_running_loop()
    # A thread of its own: a storage that hangs holds it for long after the time limit.
    threads = ThreadPoolExecutor(1, thread_name_prefix="auricle-cloud")
    try:
        file = await loop.run_in_executor(threads, _open, scheme, bucket, key, max_bytes)
        try:
            while data := await loop.run_in_executor(threads, _read, file, scheme):
                await filling.add(data)
        finally:
            threads.submit(file.close)
    finally:
        threads.shutdown(wait=False)


def _open(scheme: str, bucket: str, key: str, max_bytes: int) -> Any:
    try:
        # It has no types.
        fsspec: Any = import_module("fsspec")
        # A cached one would remember what the bucket held an hour ago.
        filesystem: Any = fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False)
        size: int | None = filesystem.info(f"{bucket}/{key}").get("size")
        if size is not None and size > max_bytes:
            raise too_large(max_bytes, size)
        return filesystem.open(f"{bucket}/{key}", "rb", block_size=_BLOCK_BYTES)
    except ImportError as exc:
        raise UnsupportedOption(
            f"This server cannot read {scheme}:// URLs: the package {_MODULES[scheme]} is missing. Install it with: "
            "pip install 'auricle[cloud]'",
            param="url",
        ) from exc
    except _errors(scheme) as exc:
        raise _unreachable(scheme, exc) from exc


def _read(file: Any, scheme: str) -> bytes:
    try:
        return file.read(_BLOCK_BYTES)
    except _errors(scheme) as exc:
        raise _unreachable(scheme, exc) from exc


def _errors(scheme: str) -> tuple[type[Exception], ...]:
    # What is not loaded has not raised.
    loaded = [(sys.modules[module], name) for module, name in _ERRORS[scheme] if module in sys.modules]
    return (OSError, ValueError, *(getattr(module, name) for module, name in loaded))


def _unreachable(scheme: str, exc: Exception) -> UrlUnreachable:
    start = f"The {scheme}:// URL cannot be fetched: "
    match exc:
        case FileNotFoundError():
            return UrlRefused(f"{start}there is no such object.", param="url")
        case PermissionError():
            return UrlRefused(f"{start}the server is not allowed to read it.", param="url")
        case _:
            return UrlUnreachable(f"{start}the storage failed ({type(exc).__name__}).", param="url")
