"""The engine alone, in this process: encoder, decoder, and both together as fast as they can be fed."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from auricle.audio.decode import decode_audio
from auricle.audio.mel import log_mel
from auricle.engines.base import EngineConfig, SlotEngine
from auricle.engines.checkpoint import Shape
from auricle.engines.registry import load_engine
from auricle.engines.torch_load import LoadedWhisper, load_torch
from auricle.tokenizer import Tokenizer
from auricle.types import DecodingOptions, Row, Samples
from auricle.units import N_FRAMES, N_SAMPLES, SAMPLE_RATE
from benchmarks.gpu.device import Peak, synchronize, time_calls
from benchmarks.model_costs import ModelCosts

_STEPS = 24
_WARM_STEPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Driven:
    """What a run of rows through the slots took."""

    seconds: float
    steps: int
    slots_used: float
    """Share of the slots that were full, while rows waited."""
    tokens: int
    audio_s: float

    @property
    def rtfx(self) -> float:
        return self.audio_s / self.seconds


def measure_encoder(loaded: LoadedWhisper, batches: Sequence[int], repeats: int, peak: Peak) -> list[dict[str, Any]]:
    """Milliseconds a window by windows of a batch, with the share of the measured peak."""
    shape, device = loaded.model.shape, str(loaded.device).partition(":")[0]
    costs = ModelCosts(shape=shape)
    found: list[dict[str, Any]] = []
    for batch in batches:
        parameter = next(loaded.model.parameters())
        features = torch.zeros(batch, shape.n_mels, N_FRAMES, dtype=parameter.dtype, device=parameter.device)
        with torch.inference_mode():
            seconds = sorted(time_calls(lambda given=features: loaded.model.encode(given), device, repeats))
        window_s = seconds[len(seconds) // 2] / batch
        found.append(
            {
                "batch": batch,
                "ms_per_window": round(1e3 * window_s, 3),
                "share_of_peak": round(costs.encoder / window_s / peak.flops, 3),
            }
        )
    return found


def measure_step(
    engine: SlotEngine, rows: Sequence[Row], shape: Shape, value_bytes: int, peak: Peak
) -> dict[str, Any] | None:
    """Milliseconds of a step with all of ``rows`` inside, and the share of the bandwidth that it must use.

    None where there is no room for so many.
    """
    if engine.join(list(enumerate(rows))) < len(rows):
        engine.clear()
        return None
    device = engine.info.device
    for _ in range(_WARM_STEPS):
        engine.step()
    synchronize(device)
    began = time.perf_counter()
    for _ in range(_STEPS):
        engine.step()
    synchronize(device)
    step_s = (time.perf_counter() - began) / _STEPS
    engine.clear()
    costs = ModelCosts(shape=shape)
    size = value_bytes * (costs.decoder_weights + len(rows) * costs.shape.cross_values)
    return {
        "slots": len(rows),
        "ms": round(1e3 * step_s, 3),
        "tokens_per_s": round(len(rows) / step_s),
        # A copy reads and writes; a step reads only.
        "share_of_peak": round(size / step_s / peak.bytes, 3),
    }


def drive(engine: SlotEngine, rows: Sequence[Row], audio_s: float) -> Driven:
    """Have all ``rows`` decoded, as many at once as there is room for."""
    waiting = deque(enumerate(rows))
    inside, tokens, steps, used, counted = 0, 0, 0, 0, 0
    synchronize(engine.info.device)
    began = time.perf_counter()
    while waiting or not engine.is_empty:
        if waiting:
            taken = engine.join(list(waiting)[: engine.info.max_batch])
            for _ in range(taken):
                waiting.popleft()
            inside += taken
        if waiting:
            used += inside
            counted += engine.info.max_batch
        done = engine.step()
        steps += 1
        inside -= len(done)
        tokens += sum(len(decoding.tokens) for _, decoding in done)
    synchronize(engine.info.device)
    return Driven(
        seconds=time.perf_counter() - began,
        steps=steps,
        slots_used=used / counted if counted else 1.0,
        tokens=tokens,
        audio_s=audio_s,
    )


def open_engine(config: EngineConfig) -> SlotEngine:
    """The engine of ``config``, in this process."""
    return cast("SlotEngine", load_engine(config))


def open_model(config: EngineConfig) -> LoadedWhisper:
    """Its model alone."""
    return load_torch(config)


def make_rows(model: Path, speech: Path, engine: SlotEngine, count: int, **options: Any) -> tuple[list[Row], float]:
    """``count`` windows of the recording, over and over, and their seconds of audio."""
    info = engine.info
    tokenizer = Tokenizer(model)
    prompt = tokenizer.sequence(language="en", task="transcribe", timestamps=True, multilingual=True)
    asked = replace(DecodingOptions(beam_size=1), **options)
    windows = [window for window in _windows(speech) if window.size == N_SAMPLES]
    features = [log_mel(window, info.n_mels) for window in windows]
    rows: list[Row] = []
    for number in range(count):
        window, mel = windows[number % len(windows)], features[number % len(windows)]
        row = Row(key=f"{number}:{id(asked)}", features=mel, prompt=prompt, options=asked)
        rows.append(replace(row, samples=np.pad(window, 200)) if info.wants_samples else row)
    return rows, count * N_SAMPLES / SAMPLE_RATE


def _windows(speech: Path) -> Iterator[Samples]:
    yield from decode_audio(speech)
