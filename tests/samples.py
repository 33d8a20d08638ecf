"""The sample recordings with their references, and the smallest way to write a recording."""

import json
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from auricle.types import Samples

ROOT = Path(__file__).parents[1]
NANO = ROOT / "src" / "auricle" / "models" / "nano"
NANO_HF = ROOT / "models" / "nano" / "hf"
AUDIO = ROOT / "tests" / "audio"
SAMPLES = AUDIO / "samples"
NAMES = sorted(path.stem for path in SAMPLES.iterdir() if path.suffix in {".wav", ".flac"})


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


def write_wav(path: Path, samples: Samples) -> Path:
    """16-bit at 16 kHz: (n,) as mono, (channels, n) as so many channels."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else len(samples))
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((np.clip(samples.T, -1, 1) * 32767).astype("<i2").tobytes())
    return path
