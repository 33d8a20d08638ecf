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
from auricle.units import N_FRAMES

SAMPLES = Path(__file__).parent.parent / "audio" / "samples"
NANO = Path(auricle.__file__).parent / "models" / "nano"
PACKAGES = {
    "fake": "numpy",
    "fake-joins": "numpy",
    "ct2": "ctranslate2",
    "mlx": "mlx",
    "openvino": "openvino",
    "openvino-int8": "openvino",
    "torch": "torch",
}
"""Engine -> the package it stands on, without which it is skipped; ``-int8`` runs with 8-bit weights,
``-joins`` lets rows join and leave."""
CLIPS = ("01_en_slt.wav", "02_en_rms.wav", "03_en_heldout_voice_ked.wav", "07_en_human_digits.wav")
EXACT = ("mlx", "openvino", "torch")
"""Engines whose answers must be those of CTranslate2, where both compute in float32."""
_SHORT_WINDOWS = {"mlx": 400}
"""Frames of a window where 30 s take too long: MLX's build for Linux has a plain BLAS. The clips are shorter."""


@dataclass(frozen=True, kw_only=True)
class EngineUnderTest:
    """An engine in its own process, and the words to speak to it with."""

    replica: Replica
    info: ModelInfo
    tokenizer: Tokenizer

    @property
    def window_frames(self) -> int:
        """Of the windows that it is tried with."""
        return _SHORT_WINDOWS.get(self.info.engine, N_FRAMES)

    def row(self, sample: str, *, language: str = "en", key: str | None = None, **options: Any) -> Row:
        """The first window of a sample, to be decoded greedily unless ``options`` say otherwise."""
        options.setdefault("beam_size", 1)
        options.setdefault("context_frames", self.window_frames)
        asked = DecodingOptions(**options)
        prompt = self.tokenizer.sequence(
            language=language,
            task="translate" if asked.task == "translate" else "transcribe",
            timestamps=not asked.without_timestamps,
            multilingual=self.info.is_multilingual,
        )
        first_window = next(decode_audio(SAMPLES / sample))
        # An engine keeps what it encoded by the key: windows of different lengths are not the same.
        key = key or f"{sample} {asked.context_frames}"
        return Row(key=key, features=log_mel(first_window, self.info.n_mels), prompt=prompt, options=asked)

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
    name, _, form = engine.partition("-")
    asked: dict[str, Any] = {"engine": name, "model_name": "nano", "model_path": NANO, "device": "cpu", "threads": 1}
    if name in EXACT:
        asked["compute_type"] = "int8" if form == "int8" else "float32"
    if form == "joins":
        asked["options"] = {"joins": "true", "step_delay_s": "0.001"}
    return EngineConfig(**(asked | changes))
