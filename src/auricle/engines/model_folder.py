"""What makes a folder a model: its files, in CTranslate2 or in Hugging Face form, and the manifest of a download."""

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from auricle.engines.folder_format import CT2_WEIGHTS, folder_format, weight_files

REQUIRED_FILES = (CT2_WEIGHTS, "config.json", "tokenizer.json")
VOCABULARIES = ("vocabulary.json", "vocabulary.txt")
"""One of them is enough."""
OPTIONAL_FILES = ("preprocessor_config.json",)
"""Only models with 128 mels need it."""

_MANIFEST = "auricle.json"


class Manifest(BaseModel):
    """What was downloaded from where; lies in the folder as ``auricle.json``."""

    model_config = ConfigDict(frozen=True)

    repo: str
    commit: str
    files: dict[str, int]
    """Name to bytes."""


def missing_files(names: set[str]) -> list[str]:
    """What a folder with files of these names lacks to be a CTranslate2 model."""
    missing = [name for name in REQUIRED_FILES if name not in names]
    return missing if names & set(VOCABULARIES) else [*missing, " or ".join(VOCABULARIES)]


def folder_problem(folder: Path) -> str | None:
    """Why the folder cannot be used as a model, or None."""
    if not os.path.isdir(folder):  # False, where Path.is_dir raises for names that are too long
        return "there is no such folder"
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    required = REQUIRED_FILES
    if folder_format(sizes) == "hf":
        try:
            required = (*weight_files(folder), *REQUIRED_FILES[1:])
        except (OSError, ValueError) as error:
            return f"its weights cannot be found: {error}"
        missing = [name for name in required if name not in sizes]
    else:
        missing = missing_files(set(sizes))
    if missing:
        return f"it has no {', no '.join(missing)}"
    manifest = read_manifest(folder)
    for name, expected in manifest.files.items() if manifest else ():
        if sizes.get(name, 0) != expected:
            return f"its {name} has {sizes.get(name, 0)} bytes instead of {expected}"
    empty = [name for name in required if sizes[name] == 0]
    return f"its {empty[0]} is empty" if empty else None


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of the folder, or None where it is absent or spoiled."""
    try:
        return Manifest.model_validate_json((folder / _MANIFEST).read_bytes())
    except (OSError, ValueError):
        return None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put the manifest into the folder."""
    (folder / _MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
