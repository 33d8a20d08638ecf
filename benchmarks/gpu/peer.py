"""Transformers on the same device and weights: batches of windows with a static cache and compiled steps."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from auricle.types import Features
from auricle.units import N_FRAMES, N_SAMPLES, SAMPLE_RATE
from benchmarks.gpu.device import synchronize


def measure_transformers(
    folder: Path, features: Sequence[Features], *, device: str, dtype: torch.dtype, batch: int, batches: int
) -> dict[str, Any]:
    """RTFx of greedy decoding with timestamps, batch after batch; the first one, which compiles, does not count.

    Raises ImportError where transformers is not installed.
    """
    from transformers import WhisperForConditionalGeneration  # pyright: ignore[reportMissingImports]

    model: Any = WhisperForConditionalGeneration.from_pretrained(folder, dtype=dtype).eval().to(device)
    if device == "cuda":
        model.generation_config.cache_implementation = "static"
        model.forward = torch.compile(model.forward, mode="reduce-overhead", fullgraph=True)
    padded = np.zeros((batch, features[0].shape[0], N_FRAMES), np.float32)
    for number in range(batch):
        mel = features[number % len(features)]
        padded[number, :, : mel.shape[1]] = mel[:, :N_FRAMES]
    inputs = torch.from_numpy(padded).to(device, dtype)
    began = 0.0
    with torch.inference_mode():
        for number in range(batches + 1):
            if number == 1:
                synchronize(device)
                began = time.perf_counter()
            model.generate(inputs, language="en", task="transcribe", num_beams=1, return_timestamps=True)
    synchronize(device)
    seconds = time.perf_counter() - began
    return {
        "batch": batch,
        "windows": batch * batches,
        "rtfx": round(batch * batches * N_SAMPLES / SAMPLE_RATE / seconds, 1),
    }
