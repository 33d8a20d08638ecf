"""Names of engines, and how one is loaded. Engines are imported on use only, in their own process."""

import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import cast

from auricle.engines.base import Engine, EngineConfig, SlotEngine
from auricle.errors import EngineNotInstalled, InvalidOption

ENGINES: dict[str, str] = {
    "ct2": "auricle.engines.ct2_engine:load",
    "fake": "auricle.engines.fake_engine:load",
    "mlx": "auricle.engines.mlx_engine:load",
    "openvino": "auricle.engines.openvino_engine:load",
    "torch": "auricle.engines.torch_engine:load",
}
"""Name -> ``module:function`` that makes an Engine of an EngineConfig."""

INSTALL: dict[str, str] = {
    "ct2": "auricle",
    "fake": "auricle",
    "mlx": "auricle[mlx]",
    "openvino": "auricle[openvino]",
    "torch": "auricle[torch]",
}
"""What pip is to install for an engine."""

PACKAGES = {"ct2": "ctranslate2", "mlx": "mlx", "openvino": "openvino", "torch": "torch"}
"""What an engine imports."""

_ENVIRONMENT = {"torch": {"OMP_WAIT_POLICY": "PASSIVE"}}
"""What an engine's libraries are to find when they are imported, unless something else was set.

Threads of OpenMP would wait busily for one another: on a CPU that others use too, a step then took six times as long.
"""


def check_engine(name: str) -> None:
    """Raises InvalidOption unless ``name`` is an engine."""
    if name not in ENGINES:
        known = ", ".join(["auto", *sorted(ENGINES)])
        raise InvalidOption(f"there is no engine {name!r}; choose one of: {known}", param="engine")


def installed_engines() -> frozenset[str]:
    """The engines whose packages are there; none is imported."""
    return frozenset(name for name in ENGINES if name not in PACKAGES or find_spec(PACKAGES[name]) is not None)


def load_engine(config: EngineConfig) -> Engine | SlotEngine:
    """Import the engine that ``config`` names and load its model.

    Raises InvalidOption for an unknown name, EngineNotInstalled where a package is missing, and what the engine raises.
    """
    name = config.engine
    check_engine(name)
    for variable, value in _ENVIRONMENT.get(name, {}).items():
        os.environ.setdefault(variable, value)
    module, _, function = ENGINES[name].partition(":")
    try:
        load = cast("Callable[[EngineConfig], Engine | SlotEngine]", getattr(import_module(module), function))
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "auricle":
            raise
        raise EngineNotInstalled(
            f"engine {name!r} cannot be imported ({error}); install it with: pip install '{INSTALL[name]}'"
        ) from error
    return load(config)
