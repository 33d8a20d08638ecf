"""Names of engines, and how one is loaded. Engines are imported on use only, in their own process."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import cast

from auricle.engines.base import Engine, EngineConfig
from auricle.errors import EngineNotInstalled, InvalidOption

ENGINES: dict[str, str] = {
    "ct2": "auricle.engines.ct2_engine:load",
    "fake": "auricle.engines.fake_engine:load",
    "openvino": "auricle.engines.openvino_engine:load",
}
"""Name -> ``module:function`` that makes an Engine of an EngineConfig."""

INSTALL: dict[str, str] = {"ct2": "auricle", "fake": "auricle", "openvino": "auricle[openvino]"}
"""What pip is to install for an engine."""

_PACKAGES = {"ct2": "ctranslate2", "openvino": "openvino"}
"""What an engine imports."""


def check_engine(name: str) -> None:
    """Raises InvalidOption unless ``name`` is an engine."""
    if name not in ENGINES:
        known = ", ".join(["auto", *sorted(ENGINES)])
        raise InvalidOption(f"there is no engine {name!r}; choose one of: {known}", param="engine")


def installed_engines() -> frozenset[str]:
    """The engines whose packages are there; none is imported."""
    return frozenset(name for name in ENGINES if name not in _PACKAGES or find_spec(_PACKAGES[name]) is not None)


def load_engine(config: EngineConfig) -> Engine:
    """Import the engine that ``config`` names and load its model.

    Raises InvalidOption for an unknown name, EngineNotInstalled where a package is missing, and what the engine raises.
    """
    name = config.engine
    check_engine(name)
    module, _, function = ENGINES[name].partition(":")
    try:
        load = cast("Callable[[EngineConfig], Engine]", getattr(import_module(module), function))
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "auricle":
            raise
        raise EngineNotInstalled(
            f"engine {name!r} cannot be imported ({error}); install it with: pip install '{INSTALL[name]}'"
        ) from error
    return load(config)
