"""The synthesized corpus, read while it may still grow."""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from grammar import LANGUAGES
from voices import CORE_VARIANTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One line of a corpus file; offset and length count samples of the .bin file of that name."""

    file: str
    offset: int
    n_samples: int
    text: str
    language: str
    voice: str
    english: str | None
    group: str


class Corpus:
    """The utterances of a split, by language, and their samples."""

    def __init__(self, folder: Path, split: str = "train") -> None:
        self._folder = folder
        self._split = split
        self.refresh()

    def refresh(self) -> None:
        """Read again what the files hold by now."""
        self._samples = {}
        self.utterances: list[Utterance] = []
        for lines in sorted(self._folder.glob(f"{self._split}_*.jsonl")):
            samples = np.memmap(lines.with_suffix(".bin"), dtype="<i2", mode="r")
            self._samples[lines.stem] = samples
            self.utterances += _complete_utterances(lines, len(samples))
        if self._split == "train":
            self.utterances = [utterance for utterance in self.utterances if _is_kept(utterance)]
        self.by_language = {
            language: [utterance for utterance in self.utterances if utterance.language == language]
            for language in LANGUAGES
        }
        self.translated = {
            language: [utterance for utterance in self.by_language[language] if utterance.english]
            for language in LANGUAGES
        }

    def samples(self, utterance: Utterance) -> np.ndarray:
        """Return the speech as float32 at 16 kHz."""
        stored = self._samples[utterance.file][utterance.offset : utterance.offset + utterance.n_samples]
        return stored.astype(np.float32) / 32768


def _complete_utterances(lines: Path, n_samples: int) -> list[Utterance]:
    """Read the lines that are whole and whose samples are there."""
    whole, _, _ = lines.read_text(encoding="utf-8").rpartition("\n")
    utterances = [Utterance(**json.loads(line)) for line in whole.splitlines()]
    return [utterance for utterance in utterances if utterance.offset + utterance.n_samples <= n_samples]


def _is_kept(utterance: Utterance) -> bool:
    """Keep three in ten of the odd variants of espeak, so that the plain ones prevail."""
    if not utterance.voice.startswith("espeak"):
        return True
    _, _, variant = utterance.voice.partition("+")
    return variant in CORE_VARIANTS or zlib.crc32(utterance.text.encode()) % 10 < 3
