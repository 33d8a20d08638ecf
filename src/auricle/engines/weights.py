"""Model names into folders with weights: the embedded model, aliases, hub repositories, local folders.

A downloaded model is the plain folder ``DATA_DIR/models/ORG--REPO[@REVISION]``; copying it to another machine's data
folder installs it there. What is still on its way lies in ``DATA_DIR/models/.partial`` and is never taken for a model.
"""

import difflib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from auricle.engines import hub
from auricle.engines.folder_format import CONVERT_HINT
from auricle.engines.model_folder import folder_problem, read_manifest
from auricle.engines.optimized import remove_optimized
from auricle.errors import InvalidOption, ModelNotFound

NANO = "nano"
EMBEDDED_MODELS = {NANO: Path(__file__).parents[1] / "models" / "nano"}

TURBO_MEMORY_BYTES = 6 * 1024**3
"""Free GPU memory that turbo needs with room for batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubModel:
    """A repository of the hub at a revision; None stands for its main branch."""

    repo: str
    revision: str | None = None

    @property
    def folder_name(self) -> str:
        # "%" cannot be in either part, so no two models share a folder.
        suffix = f"@{self.revision}" if self.revision else ""
        return (self.repo.replace("/", "--") + suffix).replace("/", "%2F")

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}" if self.revision else self.repo


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """A model that is on disk and complete."""

    name: str
    """What users call it: an alias where there is one."""
    path: Path
    revision: str | None
    """Commit on the hub, where known."""
    source: str
    """``embedded``, ``local``, or the repository it came from."""
    size_bytes: int


def _systran(size: str, revision: str, family: str = "whisper") -> HubModel:
    return HubModel(repo=f"Systran/faster-{family}-{size}", revision=revision)


_TURBO = HubModel(
    repo="dropbox-dash/faster-whisper-large-v3-turbo", revision="0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf"
)
_LARGE = _systran("large-v3", "edaa852ec7e145841d8ffdb056a99866b5f0a478")

ALIASES: dict[str, HubModel] = {
    "tiny": _systran("tiny", "d90ca5fe260221311c53c58e660288d3deb8d356"),
    "tiny.en": _systran("tiny.en", "0d3d19a32d3338f10357c0889762bd8d64bbdeba"),
    "base": _systran("base", "ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66"),
    "base.en": _systran("base.en", "3d3d5dee26484f91867d81cb899cfcf72b96be6c"),
    "small": _systran("small", "536b0662742c02347bc0e980a01041f333bce120"),
    "small.en": _systran("small.en", "d1d751a5f8271d482d14ca55d9e2deeebbae577f"),
    "medium": _systran("medium", "08e178d48790749d25932bbc082711ddcfdfbc4f"),
    "medium.en": _systran("medium.en", "a29b04bd15381511a9af671baec01072039215e3"),
    "large-v1": _systran("large-v1", "b07c8d4be0be90092aa01a29c975077acb8d15c9"),
    "large-v2": _systran("large-v2", "f0fe81560cb8b68660e564f55dd99207059c092e"),
    "large-v3": _LARGE,
    "large": _LARGE,
    "large-v3-turbo": _TURBO,
    "turbo": _TURBO,
    "distil-small.en": _systran("small.en", "ef77d90526ccd62cde3808ee70626a01e5cf83e4", "distil-whisper"),
    "distil-medium.en": _systran("medium.en", "80ddfce281f77766d8943d63109199fc8145dfa5", "distil-whisper"),
    "distil-large-v2": _systran("large-v2", "fe9b404fc56de3f7c38606ef9ba6fd83526d05e4", "distil-whisper"),
    "distil-large-v3": _systran("large-v3", "c3058b475261292e64a0412df1d2681c06260fab", "distil-whisper"),
    "distil-large-v3.5": HubModel(
        repo="distil-whisper/distil-large-v3.5-ct2", revision="9793ccc07920e0f830e1dba0343efcdf0ef8c903"
    ),
}

# The hub's rules for names; they also keep every name inside its own folder.
_REPO = re.compile(r"(?=.{3,96}$)[a-z0-9]([\w.-]*\w)?/[a-z0-9]([\w.-]*\w)?", re.ASCII | re.IGNORECASE)
_REVISION = re.compile(r"[a-z0-9][\w./-]{0,99}", re.ASCII | re.IGNORECASE)
_COMMIT = re.compile(r"[0-9a-f]{40}")


def model_names() -> list[str]:
    """All names that need no explanation: the embedded model and the aliases."""
    return [*EMBEDDED_MODELS, *ALIASES]


def default_model(device: str, free_memory_bytes: int | None) -> str:
    """What ``auto`` means on a device: turbo on CUDA with room for it, else base."""
    has_room = free_memory_bytes is not None and free_memory_bytes >= TURBO_MEMORY_BYTES
    return "large-v3-turbo" if device == "cuda" and has_room else "base"


def resolve_model(
    name: str,
    *,
    data_dir: Path,
    offline: bool = False,
    allow_local: bool = False,
    progress: hub.Progress | None = None,
) -> ModelFiles:
    """The model called ``name``, from disk where it is there, else downloaded.

    ``allow_local`` lets the name be a folder; it must be False for names that came over the network.
    Raises ModelNotFound, which says what was tried and what can be done.
    """
    found = find_model(name, data_dir=data_dir, allow_local=allow_local)
    if found is not None:
        return found
    if offline:
        target = _hub_model(name)
        raise _out_of_reach(name, target, models_dir(data_dir) / target.folder_name, "offline mode is on")
    return pull_model(name, data_dir=data_dir, progress=progress)


def find_model(name: str, *, data_dir: Path, allow_local: bool = False) -> ModelFiles | None:
    """The model called ``name`` if it is on disk and complete; never uses the network.

    Raises ModelNotFound for a name that cannot be a model, and for a local folder that is none.
    """
    if name in EMBEDDED_MODELS:
        return _describe(EMBEDDED_MODELS[name], name=name, source="embedded")
    if allow_local and name not in ALIASES and _is_local(name):
        folder = Path(os.path.expanduser(name)).resolve()
        problem = folder_problem(folder)
        if problem is not None:
            raise ModelNotFound(
                f"{folder} is not a Whisper model that can be read: {problem}; {CONVERT_HINT}", param="model"
            )
        return _describe(folder, name=name, source="local")
    target = _hub_model(name)
    folder = models_dir(data_dir) / target.folder_name
    return None if folder_problem(folder) else _describe(folder, name=name, source=target.repo)


def is_downloaded(name: str, *, data_dir: Path) -> bool:
    """Whether the model can be used without the network."""
    return find_model(name, data_dir=data_dir) is not None


def pull_model(name: str, *, data_dir: Path, progress: hub.Progress | None = None) -> ModelFiles:
    """Download the model, unless it is there already; a branch is brought up to date.

    Raises ModelNotFound, also where the hub cannot be reached.
    """
    found = find_model(name, data_dir=data_dir)
    if name in EMBEDDED_MODELS and found is not None:
        return found
    target = _hub_model(name)
    if found is not None and target.revision is not None and _COMMIT.fullmatch(target.revision):
        return found
    folder = models_dir(data_dir) / target.folder_name
    try:
        hub.fetch(target.repo, target.revision, folder, progress)
    except (hub.DownloadFailed, OSError) as error:
        raise _out_of_reach(name, target, folder, str(error)) from error
    return _describe(folder, name=name, source=target.repo)


def list_models(data_dir: Path) -> list[ModelFiles]:
    """The embedded model, and every complete download by name."""
    names = {model.folder_name: alias for alias, model in reversed(ALIASES.items())}
    models = [_describe(path, name=name, source="embedded") for name, path in EMBEDDED_MODELS.items()]
    root = models_dir(data_dir)
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        repo = folder.name.partition("@")[0].replace("--", "/", 1)
        name = names.get(folder.name, folder.name.replace("--", "/", 1).replace("%2F", "/"))
        if "--" in folder.name and folder_problem(folder) is None:
            models.append(_describe(folder, name=name, source=repo))
    return models


def remove_model(name: str, *, data_dir: Path) -> int:
    """Delete a download and what is left of an unfinished one; gives the bytes freed.

    Raises InvalidOption for the embedded model, ModelNotFound where there is nothing to delete.
    """
    if name in EMBEDDED_MODELS:
        raise InvalidOption(f"model {name!r} is part of the package and cannot be removed", param="model")
    folder_name = _hub_model(name).folder_name
    root = models_dir(data_dir)
    folders = [path for path in (root / folder_name, root / ".partial" / folder_name) if path.is_dir()]
    if not folders:
        raise ModelNotFound(f"model {_shown(name)} is not downloaded: there is no {root / folder_name}", param="model")
    freed = sum(_size(folder) for folder in folders)
    for folder in folders:
        shutil.rmtree(folder)
    return freed + remove_optimized(root / folder_name, data_dir)


def models_dir(data_dir: Path) -> Path:
    """Where downloads lie."""
    return data_dir / "models"


def _is_local(name: str) -> bool:
    looks_like_path = name.startswith((".", "~", "/", "\\")) or Path(name).is_absolute()
    return "\0" not in name and (looks_like_path or os.path.isdir(name))


def _hub_model(name: str) -> HubModel:
    if name in ALIASES:
        return ALIASES[name]
    repo, at, revision = name.partition("@")
    is_repo = _REPO.fullmatch(repo) is not None and "--" not in repo and ".." not in repo
    is_revision = _REVISION.fullmatch(revision) is not None and ".." not in revision and "//" not in revision
    if is_repo and (is_revision or not at):
        return HubModel(repo=repo, revision=revision or None)
    near = difflib.get_close_matches(name[:100], model_names(), n=3, cutoff=0.5)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    raise ModelNotFound(
        f"there is no model {_shown(name)}; {meant}Known names: {', '.join(model_names())}; "
        "or a Hugging Face repository as org/repo[@revision]",
        param="model",
    )


def _out_of_reach(name: str, target: HubModel, folder: Path, why: str) -> ModelNotFound:
    return ModelNotFound(
        f"model {_shown(name)} ({target}) is not in {folder} and cannot be downloaded: {why}. "
        f"Either run `auricle models pull {name}` on a connected machine and copy that folder here, "
        "or pass a model's folder with `--model /path/to/folder`.",
        param="model",
    )


def _describe(folder: Path, *, name: str, source: str) -> ModelFiles:
    manifest = read_manifest(folder)
    commit = manifest.commit if manifest else None
    return ModelFiles(name=name, path=folder, revision=commit, source=source, size_bytes=_size(folder))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _shown(name: str) -> str:
    return repr(name if len(name) <= 100 else name[:100] + "…")
