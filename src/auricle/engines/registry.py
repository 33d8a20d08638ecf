"""Names of engines, and how one is loaded. Engines are imported on use only, in their own process."""

from collections.abc import Callable
from importlib import import_module
from typing import cast

from auricle.engines.base import Engine, EngineConfig
from auricle.errors import EngineNotInstalled, InvalidOption

ENGINES: dict[str, str] = {
    "ct2": "auricle.engines.ct2_engine:load",
    "fake": "auricle.engines.fake_engine:load",
    "openvino": "auricle.engines.openvino_engine:load",
}
"""Name -> ``module:function`` that makes an Engine of an EngineConfig."""

_INSTALL: dict[str, str] = {"ct2": "auricle", "fake": "auricle", "openvino": "auricle[openvino]"}
"""What pip is to install for an engine."""


def choose_engine(name: str) -> str:
    """The engine that ``name`` stands for; ``auto`` is ``ct2``. Raises InvalidOption for an unknown name."""
    if name == "auto":
        return "ct2"
    if name not in ENGINES:
        known = ", ".join(["auto", *sorted(ENGINES)])
        raise InvalidOption(f"there is no engine {name!r}; choose one of: {known}", param="engine")
    return name


def load_engine(config: EngineConfig) -> Engine:
    """Import the engine that ``config`` names and load its model.

    Raises InvalidOption for an unknown name, EngineNotInstalled where a package is missing, and what the engine raises.
    """
    name = choose_engine(config.engine)
    module, _, function = ENGINES[name].partition(":")
    try:
        load = cast("Callable[[EngineConfig], Engine]", getattr(import_module(module), function))
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "auricle":
            raise
        raise EngineNotInstalled(
            f"engine {name!r} cannot be imported ({error}); install it with: pip install '{_INSTALL[name]}'"
        ) from error
    return load(config)
