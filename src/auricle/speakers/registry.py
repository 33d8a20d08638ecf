"""Ways to find out who spoke, by name. All but the embedded one are imported on use only."""

from collections.abc import Callable
from importlib import import_module
from typing import cast

from auricle.errors import InvalidOption
from auricle.speakers.base import Diarizer
from auricle.speakers.local import LocalDiarizer
from auricle.speakers.options import DiarizerOptions, not_installed

DIARIZERS = ("local", "pyannote", "sherpa")

_MODULES = {
    "pyannote": "auricle.speakers.pyannote_diarizer",
    "sherpa": "auricle.speakers.sherpa_diarizer",
}
"""Each has a function ``make`` that makes a diarizer for one file; the extra that it needs has the same name."""


def make_diarizer(name: str, options: DiarizerOptions | None = None) -> Diarizer:
    """A diarizer for one file; blocks, the first time perhaps for a download.

    Raises InvalidOption for a name that there is not, EngineNotInstalled where a package is missing, ModelNotFound
    where the model cannot be had.
    """
    if name not in DIARIZERS:
        raise InvalidOption(f"there is no diarizer {name!r}; choose one of {', '.join(DIARIZERS)}", param="diarizer")
    if name == "local":
        return LocalDiarizer()
    try:
        make = cast("Callable[[DiarizerOptions], Diarizer]", import_module(_MODULES[name]).make)
    # OSError: torch and torchaudio of different builds.
    except (ImportError, OSError) as error:
        if (getattr(error, "name", None) or "").partition(".")[0] == "auricle":
            raise
        raise not_installed(name, error) from error
    return make(options or DiarizerOptions())
