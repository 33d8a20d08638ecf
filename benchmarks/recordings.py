"""The recordings that are measured, built from the sample utterances; the same on every machine.

Utterances of known place and text are cut out of the samples, shuffled with a fixed seed, and strung with pauses.
Between them is faint noise (-80 dBFS), as no real recording is digitally silent unless it is meant to be.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import av
import numpy as np
from av.audio.stream import AudioStream

from auricle.audio.decode import decode_audio
from auricle.types import Samples
from auricle.units import SAMPLE_RATE

SAMPLES = Path(__file__).parents[1] / "tests" / "audio" / "samples"
LAYOUTS = ("08_en_60s.flac", "09_en_20s_layout.wav", "12_en_then_de.wav")
VERSION = 1
"""Part of the file names; raise it when the recordings change."""

_MARGIN_S = 0.1
_FLOOR = 1e-4
_NOISE = 0.02
_BLOCK_S = 30

Kind = Literal["speech", "silence", "noise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A file, and what is said in it."""

    name: str
    path: Path
    seconds: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Utterance:
    """One sentence with 0.1 s around it."""

    samples: Samples
    text: str


def load_utterances() -> list[Utterance]:
    """The English utterances of the samples whose layout is known."""
    utterances: list[Utterance] = []
    for name in LAYOUTS:
        path = SAMPLES / name
        samples = np.concatenate(list(decode_audio(path)))
        for segment in json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["segments"]:
            if segment["language"] == "en":
                first = max(0, round((segment["start"] - _MARGIN_S) * SAMPLE_RATE))
                last = round((segment["end"] + _MARGIN_S) * SAMPLE_RATE)
                utterances.append(Utterance(samples=samples[first:last], text=segment["text"]))
    return utterances


def string_utterances(utterances: list[Utterance], seconds: float, seed: int) -> Iterator[tuple[Samples, str]]:
    """Pieces of a recording of exactly ``seconds``, each with the text it adds ("" for pauses).

    All utterances come in random order, then all again in another one. Five of six pauses last 0.3-1.2 s, the others
    2-6 s, as where a speaker thinks or a page is turned.
    """
    rng = np.random.default_rng(seed)
    left = round(seconds * SAMPLE_RATE)
    order: list[int] = []
    while True:
        order = order or rng.permutation(len(utterances)).tolist()
        low, high = (2, 6) if rng.random() < 1 / 6 else (0.3, 1.2)
        pause = round(rng.uniform(low, high) * SAMPLE_RATE)
        # The next one in turn that still fits.
        fitting = [index for index in order if pause + utterances[index].samples.size <= left]
        if not fitting:
            yield _floor(rng, left), ""
            return
        order.remove(fitting[0])
        utterance = utterances[fitting[0]]
        yield _floor(rng, pause), ""
        yield utterance.samples, utterance.text
        left -= pause + utterance.samples.size


def build_recording(folder: Path, kind: Kind, seconds: float, seed: int = 0) -> Recording:
    """A FLAC file in ``folder``, taken from there where an earlier run has made it."""
    name = f"{kind}-{seconds:g}s-{seed}"
    path = folder / f"{name}-v{VERSION}.flac"
    reference = path.with_suffix(".txt")
    if not reference.exists():  # it is written last
        folder.mkdir(parents=True, exist_ok=True)
        texts: list[str] = []
        write_flac(path, _take_text(_pieces(kind, seconds, seed), texts))
        reference.write_text(" ".join(texts), encoding="utf-8")
    return Recording(name=name, path=path, seconds=seconds, text=reference.read_text(encoding="utf-8"))


def write_flac(path: Path, pieces: Iterable[Samples]) -> None:
    """16 bit, mono, 16 kHz; ``pieces`` are written as they come, so that hours need no memory."""
    with av.open(str(path), "w", format="flac") as container:
        stream = cast("AudioStream", container.add_stream("flac", rate=SAMPLE_RATE, layout="mono"))
        for piece in pieces:
            pcm = np.rint(np.clip(piece, -1, 1) * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
            frame.sample_rate = SAMPLE_RATE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _pieces(kind: Kind, seconds: float, seed: int) -> Iterator[tuple[Samples, str]]:
    if kind == "speech":
        yield from string_utterances(load_utterances(), seconds, seed)
        return
    rng = np.random.default_rng(seed)
    left = round(seconds * SAMPLE_RATE)
    while left:
        count = min(left, _BLOCK_S * SAMPLE_RATE)
        block = rng.normal(0, _NOISE, count) if kind == "noise" else np.zeros(count)
        yield block.astype(np.float32), ""
        left -= count


def _take_text(pieces: Iterable[tuple[Samples, str]], texts: list[str]) -> Iterator[Samples]:
    for samples, text in pieces:
        if text:
            texts.append(text)
        if samples.size:
            yield samples


def _floor(rng: np.random.Generator, count: int) -> Samples:
    return rng.normal(0, _FLOOR, count).astype(np.float32)
