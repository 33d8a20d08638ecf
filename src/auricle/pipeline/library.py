"""Where models come from: names to folders on disk, downloads, removal, and who may cause what."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from auricle.engines.weights import ALIASES, ModelFiles, find_model, list_models, remove_model, resolve_model
from auricle.errors import ModelNotFound


class Origin(Enum):
    """Who named a model."""

    SETTINGS = auto()
    """The only ones that may mean a local folder."""
    OPERATOR = auto()
    """May have anything downloaded from the hub."""
    CLIENT = auto()
    """Has downloaded what the settings allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """Where a model's files are, and the one name under which it is loaded."""

    name: str
    path: Path
    size_bytes: int = 0
    is_local: bool = False
    """Whether it is a folder of the operator's, not one of ours."""


Progress = Callable[[int, int], None]
"""Takes the bytes that are there and the bytes of the whole model; may raise to give the download up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """The models on disk. All methods block, and may be called from any thread."""

    data_dir: Path
    offline: bool = False
    allow_downloads: bool = True
    """Whether requests of clients download models of the alias table."""
    allow_any_repo: bool = False
    """Whether they download any repository of the hub."""

    def find(self, name: str, origin: Origin) -> ModelFolder | None:
        """The model on disk, or None where it may be pulled.

        Raises ModelNotFound for what is not there and cannot be had, or not by ``origin``.
        """
        found = find_model(name, data_dir=self.data_dir, allow_local=origin is Origin.SETTINGS)
        if found is not None:
            return _folder(found)
        if origin is Origin.CLIENT and not self.offline:
            self._check_download(name)
        return None

    def pull(self, name: str, progress: Progress) -> ModelFolder:
        """The model, downloaded where it is not on disk. Raises ModelNotFound."""
        found = resolve_model(name, data_dir=self.data_dir, offline=self.offline, progress=progress)
        return _folder(found)

    def remove(self, name: str) -> int:
        """Delete a download; gives the bytes freed. Raises InvalidOption for the embedded model, ModelNotFound."""
        return remove_model(name, data_dir=self.data_dir)

    def on_disk(self) -> dict[str, Path]:
        """The embedded model and the complete downloads, name to folder."""
        return {model.name: model.path for model in list_models(self.data_dir)}

    def _check_download(self, name: str) -> None:
        if name in ALIASES:
            if self.allow_downloads:
                return
            setting = "AURICLE_ALLOW_DOWNLOADS"
        elif self.allow_any_repo and self.allow_downloads:
            return
        else:
            setting = "AURICLE_ALLOW_ANY_REPO"
        raise ModelNotFound(
            f"model {name[:100]!r} is not on this server, and requests may not have it downloaded ({setting}); its "
            f"operator can: `auricle models pull {name[:100]}`",
            param="model",
        )


def _folder(found: ModelFiles) -> ModelFolder:
    # Clients see the name; where a folder of the server lies is none of their business.
    is_local = found.source == "local"
    name = found.path.name if is_local else found.name
    return ModelFolder(name=name, path=found.path, size_bytes=found.size_bytes, is_local=is_local)
