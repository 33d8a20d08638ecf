"""Where diarizers beyond the embedded one find what they need."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
