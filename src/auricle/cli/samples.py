"""The example files inside the package; for ``demo`` and ``doctor``."""

from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent.parent / "models" / "samples"


@dataclass(frozen=True, slots=True)
class Sample:
    """Audio with the text that is spoken in it."""

    path: Path
    text: str


def list_samples() -> list[Sample]:
    """All examples, by name."""
    return [
        Sample(path, path.with_suffix(".txt").read_text("utf-8").strip()) for path in sorted(_FOLDER.glob("*.flac"))
    ]
