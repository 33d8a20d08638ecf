"""Fetches a model of the Hugging Face hub into a plain folder: CTranslate2 weights, else safetensors of Transformers.

Everything the hub library can be told by its environment holds: ``HF_ENDPOINT``, ``HF_TOKEN``, ``HF_HUB_OFFLINE``,
proxies. https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
"""

import json
import shutil
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import (
    HfApi,
    snapshot_download,  # pyright: ignore[reportUnknownVariableType]
)
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import WeakFileLock
from tqdm import tqdm

from auricle.engines.folder_format import CONVERT_HINT, CT2_WEIGHTS, HF_WEIGHTS, OPENAI_SUFFIX, folder_format
from auricle.engines.model_folder import (
    Manifest,
    choose_files,
    folder_problem,
    read_manifest,
    write_manifest,
)
from auricle.errors import ModelNotFound

Progress = Callable[[int, int], None]
"""Called with the bytes that are there and the bytes of the whole model, from any thread."""

_METADATA_TIMEOUT_S = 10.0


class DownloadFailed(Exception):
    """The hub, the way to it or the disk failed; the text says how."""


def fetch(repo: str, revision: str | None, target: Path, progress: Progress | None = None) -> None:
    """Download ``repo`` at ``revision`` (None: its main branch) into the folder ``target``, all or nothing.

    A connection that breaks is taken up where it broke; after a restart, files that were complete are not fetched
    again. ``target`` appears, or is replaced, only when every file is complete, and holds a manifest. Two processes
    that want the same model take turns.

    Raises ModelNotFound where the hub has no such model or it is no Whisper in a form that an engine reads,
    DownloadFailed where the hub, the way to it or the disk fails.
    """
    unfinished = target.parent / ".partial" / target.name
    lock = target.parent / ".locks" / target.name
    lock.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        commit, sizes = _ask(repo, revision)
        present = read_manifest(target)
        if present is not None and present.commit == commit and folder_problem(target) is None:
            return
        unfinished.mkdir(parents=True, exist_ok=True)
        if folder_format(sizes) == "hf":
            _check_is_whisper(repo, commit, unfinished)
        _download(repo, commit, sizes, unfinished, progress)
        shutil.rmtree(unfinished / ".cache", ignore_errors=True)
        write_manifest(unfinished, Manifest(repo=repo, commit=commit, files=sizes))
        if target.exists():
            shutil.rmtree(target)
        unfinished.replace(target)


def _ask(repo: str, revision: str | None) -> tuple[str, dict[str, int]]:
    """The commit that the revision stands for, and the size of each file that is needed of it."""
    with _translated_errors(repo, revision):
        info = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=_METADATA_TIMEOUT_S)
    # A file of openai/whisper is a pickle: such a model is taken from the operator's disk only.
    names = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    found = {name: size for name, size in names.items() if not name.endswith(OPENAI_SUFFIX)}
    wanted, missing = choose_files(found)
    if folder_format(found) is None:
        missing = [f"{CT2_WEIGHTS} or {HF_WEIGHTS}"]
    if missing or info.sha is None:
        raise ModelNotFound(
            f"{repo} is not a complete Whisper model, for CTranslate2 or in Hugging Face form: it has no "
            f"{', no '.join(missing)}; {CONVERT_HINT} and pass the folder",
            param="model",
        )
    return info.sha, {name: found[name] for name in wanted}


def _check_is_whisper(repo: str, commit: str, folder: Path) -> None:
    """Look at the configuration before the weights, which are gigabytes; that of a CTranslate2 model does not tell.

    Raises ModelNotFound, DownloadFailed.
    """
    _snapshot(repo, commit, ["config.json"], folder, _reporting_bar(0, None))
    try:
        config: Any = json.loads((folder / "config.json").read_bytes())
        kind = config.get("model_type")
    except (OSError, ValueError, AttributeError, RecursionError):
        kind = None
    if kind != "whisper":
        shutil.rmtree(folder)
        raise ModelNotFound(f"{repo} is no Whisper model: its config.json says it is {kind!r}", param="model")


def _download(repo: str, commit: str, sizes: dict[str, int], folder: Path, progress: Progress | None) -> None:
    total = sum(sizes.values())
    _snapshot(repo, commit, sizes, folder, _reporting_bar(total, progress))
    for name, size in sizes.items():
        path = folder / name
        actual = path.stat().st_size if path.is_file() else 0
        if actual == 0 or (size and actual != size):
            path.unlink(missing_ok=True)
            raise DownloadFailed(f"{name} came with {actual} bytes instead of {size}")
        sizes[name] = actual
    if progress is not None:
        progress(total, total)


def _snapshot(repo: str, commit: str, names: Collection[str], folder: Path, bar: type[Any]) -> None:
    with _translated_errors(repo, commit):
        snapshot_download(
            repo, revision=commit, local_dir=folder, allow_patterns=list(names), max_workers=4, tqdm_class=bar
        )


@contextmanager
def _translated_errors(repo: str, revision: str | None) -> Generator[None]:
    try:
        yield
    except GatedRepoError as error:
        raise ModelNotFound(
            f"model {repo} is gated: accept its terms on the hub and set HF_TOKEN", param="model"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelNotFound(f"model {repo} has no revision {revision!r} on the hub", param="model") from error
    except RepositoryNotFoundError as error:
        raise ModelNotFound(
            f"the hub has no model {repo}, or it is private and HF_TOKEN does not open it", param="model"
        ) from error
    except (OSError, httpx2.HTTPError, ValueError) as error:
        raise DownloadFailed(_reason(error)) from error


def _reporting_bar(total: int, progress: Progress | None) -> type[Any]:
    """A tqdm class that prints nothing and reports bytes.

    The library counts the same bytes in more than one bar (as received, and as written); the furthest one is right.
    """
    furthest = 0

    class ReportingBar(tqdm):  # pyright: ignore[reportMissingTypeArgument]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.counts_bytes = kwargs.get("unit") == "B"
            self.seen = int(kwargs.get("initial") or 0)
            super().__init__(*args, **(kwargs | {"disable": True}))  # pyright: ignore[reportUnknownMemberType]

        def update(self, n: float | None = 1) -> None:
            nonlocal furthest
            self.seen += int(n or 0)
            if progress is not None and self.counts_bytes and self.seen > furthest:
                furthest = self.seen
                progress(min(furthest, total), total)

    return ReportingBar


def _reason(error: Exception) -> str:
    if isinstance(error, HfHubHTTPError):
        return f"the hub answered {error.response.status_code}"
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return first_line[:200]
