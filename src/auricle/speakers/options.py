"""Where diarizers beyond the embedded one find what they need."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from auricle.errors import EngineNotInstalled

PYANNOTE_MODEL = "pyannote/speaker-diarization-community-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiarizerOptions:
    """What a diarizer is made with; hashable, since what was loaded with it is kept."""

    data_dir: Path | None = None
    """Where models are downloaded to, and where the audio of a file waits; None for the machine's temporary folder."""
    offline: bool = False
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    pyannote_model: str = PYANNOTE_MODEL
    """Repository on the hub, or a folder."""
    sherpa_segmentation_model: str = ""
    sherpa_embedding_model: str = ""
    """Files in ONNX form."""


def not_installed(name: str, reason: object) -> EngineNotInstalled:
    """The error for a diarizer whose package cannot be imported."""
    return EngineNotInstalled(
        f"AURICLE_DIARIZATION is {name}, and its package cannot be imported ({reason}); install it with: "
        f"pip install 'auricle[{name}]'",
        param="diarize",
    )
