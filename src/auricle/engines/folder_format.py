"""Which files hold a model's weights: its folder is in the form of CTranslate2, Hugging Face or openai/whisper."""

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal, cast

FolderFormat = Literal["ct2", "hf", "openai"]

CT2_WEIGHTS = "model.bin"
HF_WEIGHTS = "model.safetensors"
HF_INDEX = "model.safetensors.index.json"
"""Of weights that are shared out among several files."""
OPENAI_SUFFIX = ".pt"

CONVERT_HINT = (
    "make one with `ct2-transformers-converter --model ORG/REPO --output_dir FOLDER "
    "--copy_files tokenizer.json preprocessor_config.json`"
)


def folder_format(names: Collection[str]) -> FolderFormat | None:
    """The form of a model with files of these names; None where there are no weights."""
    if CT2_WEIGHTS in names:
        return "ct2"
    if HF_WEIGHTS in names or HF_INDEX in names:
        return "hf"
    return "openai" if len(openai_files(names)) == 1 else None


def openai_files(names: Iterable[str]) -> list[str]:
    """Those of openai/whisper: all of a model is in one of them, whatever its name."""
    return sorted(name for name in names if name.endswith(OPENAI_SUFFIX))


def format_of(folder: Path) -> FolderFormat | None:
    """The form of the model in ``folder``; None where there is none, or no folder."""
    return folder_format({path.name for path in folder.iterdir()}) if folder.is_dir() else None


def weight_files(folder: Path) -> list[str]:
    """Names of the files that hold the weights of a model in Hugging Face form.

    Raises OSError or ValueError for an index that cannot be read, or names files outside of the folder.
    """
    if (folder / HF_WEIGHTS).is_file():
        return [HF_WEIGHTS]
    index: object = json.loads((folder / HF_INDEX).read_text("utf-8"))
    places = cast("dict[str, object]", index).get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not places:
        raise ValueError(f"{HF_INDEX} names no files")
    names = {str(name) for name in cast("dict[str, object]", places).values()}
    if any(Path(name).name != name for name in names):
        raise ValueError(f"{HF_INDEX} names files of other folders")
    return sorted(names)
