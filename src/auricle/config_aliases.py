"""Environment variables of the systems that Auricle takes the place of, as a second name for its settings.

They are names such as ``PORT`` and ``LOG_LEVEL``, which may be about anything: they count only for the systems that
``compat_env`` lists, and less than a flag or an ``AURICLE_…`` variable.
"""

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

CompatSystem = Literal[
    "whisper-api-server",
    "whisper-server",
    "whisper-api-mvp",
    "insanely-fast-whisper-api",
    "ultra-fast-whisper-server",
]


def _as_it_is(value: str) -> str:
    return value


def _log_level(value: str) -> str:
    level = value.lower()
    return {"trace": "debug", "warn": "warning", "critical": "error", "fatal": "error"}.get(level, level)


def _names(value: str) -> str:
    """A list in JSON is as good as one with commas."""
    found = _json(value)
    return ",".join(str(entry) for entry in cast("list[object]", found)) if isinstance(found, list) else value


def _mebibytes(value: str) -> str:
    return str(int(value) / (1 << 20)) if value.isascii() and value.isdigit() else value


def _model(value: str) -> str:
    """The name of a size, where MLX weights of it are named; those are another format of the same model."""
    return value.removeprefix("mlx-community/whisper-").removesuffix("-mlx")


def _order(value: str) -> str:
    """``tiny,base`` and ``{"tiny": 1, "base": 2}`` as ``tiny=1,base=2``."""
    found = _json(value)
    if isinstance(found, dict):
        return ",".join(f"{name}={place}" for name, place in cast("dict[str, object]", found).items())
    names = [name.strip().replace(":", "=") for name in _names(value).split(",") if name.strip()]
    return ",".join(name if "=" in name else f"{name}={place}" for place, name in enumerate(names))


ALIASES: dict[CompatSystem, dict[str, tuple[str, Callable[[str], str]]]] = {
    "whisper-api-server": {
        "WHISPER_SERVER_HOST": ("host", _as_it_is),
        "WHISPER_SERVER_PORT": ("port", _as_it_is),
        "MAX_AUDIO_FILE_SIZE_MB": ("max_json_audio_mb", _as_it_is),
        "ALLOWED_ORIGINS": ("cors_origins", _names),
        "ALLOWED_HOSTS": ("trusted_hosts", _names),
        "LOG_LEVEL": ("log_level", _log_level),
    },
    "whisper-server": {"MODEL_PRIORITY": ("model_priority", _order)},
    "whisper-api-mvp": {
        "MODEL_NAME": ("model", _model),
        "MAX_CONCURRENT_JOBS": ("max_requests", _as_it_is),
        "MAX_FILE_SIZE_BYTES": ("max_upload_mb", _mebibytes),
        "MAX_MEMORY_THRESHOLD": ("max_memory_percent", _as_it_is),
        "MAX_CACHE_SIZE": ("cache_max_mb", _as_it_is),
        "MLX_NUM_THREADS": ("threads", _as_it_is),
        "HOST": ("host", _as_it_is),
        "PORT": ("port", _as_it_is),
        "LOG_LEVEL": ("log_level", _log_level),
        "DEFAULT_RATE_LIMIT": ("tiers", _as_it_is),
        "PREMIUM_RATE_LIMIT": ("tiers", _as_it_is),
        "RAPIDAPI_PROXY_SECRET": ("rapidapi_proxy_secret", _as_it_is),
    },
    "insanely-fast-whisper-api": {"ADMIN_KEY": ("admin_key", _as_it_is)},
    "ultra-fast-whisper-server": {"MODEL_BATCH_SIZE": ("max_batch", _as_it_is)},
}
"""System -> variable -> the setting that it stands for, and how its value is written here."""


class AliasSource(PydanticBaseSettingsSource):
    """What the variables of the systems in ``compat_env`` say; the sources before this one must have read that."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Nothing: the variables are read all at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Values by setting."""
        listed: object = self.current_state.get("compat_env", ())
        if isinstance(listed, str):
            listed = [name.strip() for name in listed.split(",")]
        found: dict[str, str] = {}
        for system in cast("list[str]", listed):
            found = _read(ALIASES.get(cast("CompatSystem", system), {}), os.environ) | found
        return found


def _read(aliases: Mapping[str, tuple[str, Callable[[str], str]]], environ: Mapping[str, str]) -> dict[str, str]:
    given = {name: environ[name].strip() for name in aliases if environ.get(name, "").strip()}
    found = {aliases[name][0]: aliases[name][1](value) for name, value in given.items()}
    if "tiers" in found:
        free, premium = (
            given.get(f"{tier}_RATE_LIMIT", rate) for tier, rate in (("DEFAULT", "10/h"), ("PREMIUM", "1000/h"))
        )
        found["tiers"] = f"free={_rate(free)};premium={_rate(premium)}"
    # That system counts results, this one their bytes; only 0 means the same.
    if found.get("cache_max_mb", "0") != "0":
        del found["cache_max_mb"]
    return found


def _rate(value: str) -> str:
    return f"{value}/hour" if value.isdigit() else value


def _json(value: str) -> object:
    try:
        return json.loads(value)
    except ValueError:
        return None
