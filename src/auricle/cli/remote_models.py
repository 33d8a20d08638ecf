"""The models of a running server: what ``auricle models`` asks of its ``/v1/models``."""

from typing import Any, cast
from urllib.parse import quote

import httpx

from auricle import errors
from auricle.cli.remote import key_headers, read_error, read_json
from auricle.config import Settings

_TIMEOUT = httpx.Timeout(None, connect=10.0)


def ask_server(url: str, method: str, path: str, *, settings: Settings, **params: str) -> dict[str, Any]:
    """The answer of the server at ``url``, with or without ``/v1``, to the key of the settings.

    Raises InvalidOption for what is no address, Busy where no server answers, and the server's own error.
    """
    base = url.rstrip("/").removesuffix("/v1")
    try:
        answer = httpx.request(method, f"{base}{path}", params=params, timeout=_TIMEOUT, headers=key_headers(settings))
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise errors.InvalidOption(f"--server {url!r}: {error}", param="server") from error
    except httpx.TransportError as error:
        raise errors.Busy(f"no answer from {base}: {error or type(error).__name__}") from error
    if not answer.is_success:
        raise read_error(answer)
    return read_json(answer)


def list_remote(url: str, *, settings: Settings) -> list[dict[str, Any]]:
    """The models of the server, with what it loads now under ``loading``."""
    loading = {one["id"]: one for one in ask_server(url, "GET", "/health", settings=settings).get("loading", [])}
    models = cast("list[dict[str, Any]]", ask_server(url, "GET", "/v1/models", settings=settings)["data"])
    return [model | {"loading": loading.get(model["id"])} for model in models]


def model_path(name: str) -> str:
    """Path of a model's routes."""
    return f"/v1/models/{quote(name, safe='')}"


def describe_state(model: dict[str, Any]) -> str:
    """What a table says of a model: ``loaded``, ``downloading 40%`` …"""
    loading = model["loading"]
    if loading is not None:
        done, total = loading["bytes_done"], loading["bytes_total"]
        return loading["stage"] + (f" {100 * done // total}%" if total else "")
    if model["loaded"]:
        return "loaded, pinned" if model["pinned"] else "loaded"
    return "on disk" if model["downloaded"] else "-"
