"""What all tests share: the embedded model, its vocabulary, and the sample recordings with their references."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from auricle.tokenizer import Tokenizer

ROOT = Path(__file__).parents[1]
NANO = ROOT / "src" / "auricle" / "models" / "nano"
SAMPLES = ROOT / "tests" / "audio" / "samples"


@dataclass(frozen=True)
class Sample:
    """A recording with its reference."""

    name: str
    path: Path
    text: str
    layout: list[dict]
    """Start, end (seconds), text and language of each utterance, where they are known."""


def load_sample(name: str) -> Sample:
    path = next(p for p in SAMPLES.glob(f"{name}*") if p.suffix in {".wav", ".flac"})
    layout = path.with_suffix(".json")
    return Sample(
        name=path.stem,
        path=path,
        text=path.with_suffix(".txt").read_text().strip(),
        layout=json.loads(layout.read_text())["segments"] if layout.exists() else [],
    )


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer(NANO)
