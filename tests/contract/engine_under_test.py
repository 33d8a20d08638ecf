"""The engines that the contract is checked on, and how the tests speak to them; a new engine is one more line here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import auricle
from auricle.audio.decode import decode_audio
from auricle.audio.mel import log_mel
from auricle.batching.replica import Replica
from auricle.engines.base import EngineConfig
from auricle.tokenizer import Tokenizer
from auricle.types import Decoding, DecodingOptions, ModelInfo, Row

SAMPLES = Path(__file__).parent.parent / "audio" / "samples"
NANO = Path(auricle.__file__).parent / "models" / "nano"
PACKAGES = {"fake": "numpy", "ct2": "ctranslate2", "openvino": "openvino"}
"""Engine -> the package it stands on; an engine whose package is missing is skipped."""


@dataclass(frozen=True, kw_only=True)
class EngineUnderTest:
    """An engine in its own process, and the words to speak to it with."""

    replica: Replica
    info: ModelInfo
    tokenizer: Tokenizer

    def row(self, sample: str, *, language: str = "en", key: str | None = None, **options: Any) -> Row:
        """The first 30 s of a sample, to be decoded greedily unless ``options`` say otherwise."""
        options.setdefault("beam_size", 1)
        asked = DecodingOptions(**options)
        prompt = self.tokenizer.sequence(
            language=language,
            task="translate" if asked.task == "translate" else "transcribe",
            timestamps=not asked.without_timestamps,
            multilingual=self.info.is_multilingual,
        )
        first_window = next(decode_audio(SAMPLES / sample))
        return Row(key=key or sample, features=log_mel(first_window, self.info.n_mels), prompt=prompt, options=asked)

    async def decode(self, *rows: Row) -> list[Decoding]:
        """One batch, through the process and back."""
        answers: dict[int, Decoding] = {}

        def take(index: int, decoding: Decoding, seconds: float) -> None:
            assert index not in answers, "a row was answered twice"
            answers[index] = decoding

        await self.replica.decode(rows, take)
        return [answers[index] for index in range(len(rows))]

    def text(self, decoding: Decoding) -> str:
        return self.tokenizer.decode(decoding.tokens).strip()


def config_of(engine: str, **changes: Any) -> EngineConfig:
    asked: dict[str, Any] = {"engine": engine, "model_name": "nano", "model_path": NANO, "device": "cpu", "threads": 1}
    if engine == "openvino":
        # The contract is about exact answers; its default rounds activations, and batches of other sizes otherwise.
        asked["compute_type"] = "float32"
    return EngineConfig(**(asked | changes))
