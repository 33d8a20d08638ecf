"""What makes a folder a model: its files, in one of three forms (``folder_format``), and the manifest of a download."""

import os
import re
from collections.abc import Collection
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from auricle.engines.folder_format import CT2_WEIGHTS, HF_INDEX, HF_WEIGHTS, folder_format, openai_files, weight_files

_CT2_FILES = (CT2_WEIGHTS, "config.json", "tokenizer.json")
_CT2_VOCABULARIES = ("vocabulary.json", "vocabulary.txt")
"""One of them is enough."""
_CT2_OPTIONAL = ("preprocessor_config.json",)
"""Only models with 128 mels need it."""
_OLDER_TOKENIZER = ("vocab.json", "merges.txt")
"""In Hugging Face form these stand for tokenizer.json, as models have them that were saved by the slower tokenizer."""
_HF_OPTIONAL = ("generation_config.json", "added_tokens.json")
_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
"""Not those of a variant, which have its name in theirs."""

_MANIFEST = "auricle.json"


class Manifest(BaseModel):
    """What was downloaded from where; lies in the folder as ``auricle.json``."""

    model_config = ConfigDict(frozen=True)

    repo: str
    commit: str
    files: dict[str, int]
    """Name to bytes."""


def choose_files(names: Collection[str]) -> tuple[list[str], list[str]]:
    """Of files of these names, those that a model consists of, and what they lack to be one."""
    form = folder_format(names)
    if form == "hf":
        shards = sorted(name for name in names if _SHARD.fullmatch(name))
        weights = [HF_WEIGHTS] if HF_WEIGHTS in names else [HF_INDEX, *(shards or [f"files that {HF_INDEX} names"])]
        required, optional = [*weights, "config.json", *_tokenizer_files(names)], _HF_OPTIONAL
    elif form == "openai":
        required, optional = [*openai_files(names), *_tokenizer_files(names)], ()
    else:
        required, optional = [*_CT2_FILES], (*_CT2_VOCABULARIES, *_CT2_OPTIONAL)
    missing = [name for name in required if name not in names]
    if form is None:
        missing = [f"{CT2_WEIGHTS}, {HF_WEIGHTS} or one .pt file", *missing[1:]]
    elif form == "ct2" and not set(_CT2_VOCABULARIES) & set(names):
        missing.append(" or ".join(_CT2_VOCABULARIES))
    return [*required, *(name for name in optional if name in names)], missing


def folder_problem(folder: Path) -> str | None:
    """Why the folder cannot be used as a model, or None."""
    if not os.path.isdir(folder):  # False, where Path.is_dir raises for names that are too long
        return "there is no such folder"
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    required, missing = choose_files(sizes)
    if folder_format(sizes) == "hf":
        try:
            required = [*weight_files(folder), "config.json", *_tokenizer_files(sizes)]
        except (OSError, ValueError) as error:
            return f"its weights cannot be found: {error}"
        missing = [name for name in required if name not in sizes]
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


def _tokenizer_files(names: Collection[str]) -> tuple[str, ...]:
    is_older = "tokenizer.json" not in names and set(_OLDER_TOKENIZER) <= set(names)
    return _OLDER_TOKENIZER if is_older else ("tokenizer.json",)
