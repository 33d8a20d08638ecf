"""Fetches the pipeline of pyannote.audio, which is gated: somebody accepts its terms, and has a token of that account.

Of the hub library's environment ``HF_TOKEN``, ``HF_ENDPOINT`` and ``HF_HUB_OFFLINE`` count here as elsewhere.
"""

import shutil
from pathlib import Path
from tempfile import gettempdir

import httpx2
from filelock import FileLock
from huggingface_hub import (
    get_token,
    snapshot_download,  # pyright: ignore[reportUnknownVariableType]
)
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from auricle.errors import ModelNotFound
from auricle.speakers.options import DiarizerOptions

CONFIG = "config.yaml"


def find_model(options: DiarizerOptions) -> Path:
    """The folder of the pipeline, after a download if need be. Raises ModelNotFound."""
    model = options.pyannote_model
    given = Path(model).expanduser()
    if given.is_dir():
        return given
    root = (options.data_dir or Path(gettempdir())) / "speakers"
    folder = root / model.replace("/", "--")
    if (folder / CONFIG).is_file():
        return folder
    if options.offline:
        raise ModelNotFound(
            f"AURICLE_OFFLINE is set and {model} is not in {folder}; copy it there, or name its folder in "
            "AURICLE_PYANNOTE_MODEL",
            param="diarize",
        )
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        if not (folder / CONFIG).is_file():
            _download(model, folder)
    return folder


def first_line(error: Exception) -> str:
    """What went wrong, for a message."""
    if isinstance(error, HfHubHTTPError):
        return f"the hub answered {error.response.status_code}"
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _download(repo: str, folder: Path) -> None:
    """All or nothing; a download that broke off is taken up."""
    unfinished = folder.parent / ".partial" / folder.name
    try:
        snapshot_download(repo, local_dir=unfinished)
        if not (unfinished / CONFIG).is_file():
            raise ModelNotFound(f"{repo} is no pipeline of pyannote.audio: it has no {CONFIG}", param="diarize")
        shutil.rmtree(unfinished / ".cache", ignore_errors=True)
        unfinished.replace(folder)
    except GatedRepoError as error:
        raise ModelNotFound(_gated(repo), param="diarize") from error
    except RepositoryNotFoundError as error:
        raise ModelNotFound(
            f"the hub has no model {repo}, or it is private and HF_TOKEN does not open it", param="diarize"
        ) from error
    except (OSError, httpx2.HTTPError, ValueError) as error:
        raise ModelNotFound(f"{repo} cannot be downloaded: {first_line(error)}", param="diarize") from error


def _gated(repo: str) -> str:
    page = f"https://huggingface.co/{repo}"
    if get_token() is None:
        # The first words are those of Insanely Fast Whisper API.
        return f"Missing Hugging Face Token: {repo} is gated; accept its terms at {page} and set HF_TOKEN"
    return f"{repo} is gated, and HF_TOKEN does not open it: accept its terms at {page} with the account of the token"
