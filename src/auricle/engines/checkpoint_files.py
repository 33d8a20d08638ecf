"""From a model's folder to its Checkpoint, whatever the form of its files."""

from pathlib import Path

from auricle.engines.checkpoint import Checkpoint
from auricle.engines.ct2_format import read_ct2
from auricle.engines.folder_format import format_of
from auricle.engines.hf_format import read_hf
from auricle.errors import EngineNotInstalled


def read_checkpoint(folder: Path) -> Checkpoint:
    """The model of a folder in any form. Raises EngineFailed for files that are missing or damaged."""
    form = format_of(folder)
    if form == "openai":
        return _read_openai(folder)
    return read_hf(folder) if form == "hf" else read_ct2(folder)


def _read_openai(folder: Path) -> Checkpoint:
    try:
        from auricle.engines.openai_format import read_openai  # noqa: PLC0415 - PyTorch reads it, and is optional
    except ImportError as error:
        raise EngineNotInstalled(
            f"a model of openai/whisper can be read with PyTorch only, which cannot be imported ({error}); "
            "install it with: pip install 'auricle[torch]'"
        ) from error
    return read_openai(folder)
