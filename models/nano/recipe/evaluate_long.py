"""Measure the exported model on three minutes of speech with pauses, through faster-whisper."""

import argparse
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from corpus import Corpus
from evaluate import word_error_rate
from faster_whisper import BatchedInferencePipeline, WhisperModel
from features import SAMPLE_RATE

SECONDS = 180


def draw_long_audio(corpus: Corpus, group: str) -> tuple[np.ndarray, str]:
    """Return utterances of a group one after the other with pauses of 0.3 to 1.5 s, and their text."""
    rng = random.Random(11)
    pool = [utterance for utterance in corpus.utterances if utterance.group == group]
    parts: list[np.ndarray] = []
    texts: list[str] = []
    while sum(map(len, parts)) < SECONDS * SAMPLE_RATE:
        utterance = rng.choice(pool)
        pause = int(rng.uniform(0.3, 1.5) * SAMPLE_RATE)
        parts += [corpus.samples(utterance), np.zeros(pause, np.float32)]
        texts.append(utterance.text)
    return np.concatenate(parts), " ".join(texts)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("work"), help="folder of everything made (default: work)")
    args = parser.parse_args()

    corpus = Corpus(args.work / "data", "test")
    model = WhisperModel(str(args.work / "export" / "ct2"), device="cpu", compute_type="int8", cpu_threads=2)
    batched = BatchedInferencePipeline(model)
    ways: dict[str, Callable[..., tuple[Iterable[Any], Any]]] = {
        "sequential": lambda samples, language: model.transcribe(
            samples, language=language, condition_on_previous_text=False, beam_size=1
        ),
        "batched": lambda samples, language: batched.transcribe(samples, language=language, batch_size=8),
    }
    for group in ("en_seen", "en_heldvoice_ked", "de_seen", "fr_seen", "es_seen"):
        samples, reference = draw_long_audio(corpus, group)
        for name, transcribe in ways.items():
            segments, _ = transcribe(samples, group[:2])
            text = " ".join(segment.text for segment in segments)
            print(f"{group} {name}: WER {word_error_rate([reference], [text])} %", flush=True)


if __name__ == "__main__":
    main()
