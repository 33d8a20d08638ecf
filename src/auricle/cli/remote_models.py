"""The models of a running server: what ``auricle models`` asks of its ``/v1/models``."""

from typing import Any, cast
from urllib.parse import quote

from auricle.cli.remote import call_server, read_json
from auricle.config import Settings


def ask_server(url: str, method: str, path: str, *, settings: Settings, **params: str) -> dict[str, Any]:
    """The answer of the server at ``url``, with or without ``/v1``, to the key of the settings.

    Raises InvalidOption for what is no address, Busy where no server answers, and the server's own error.
    """
    return read_json(call_server(url, method, path, settings=settings, params=params))


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
