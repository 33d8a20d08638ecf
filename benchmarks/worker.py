"""A transcriber in a process of its own: ``python -m benchmarks.worker NAME MODEL THREADS COMPUTE_TYPE``.

It loads the model, writes a line, then answers one JSON line (a ``Task``) with another (an ``Outcome``) until its
input ends. A process of its own gives each side its own memory, and threads that do not meet the other's.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One transcription; all other options are the defaults of the one who transcribes."""

    path: str
    beam_size: int
    language: str | None = None
    words: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a task."""

    seconds: float
    """From the path to the last segment."""
    text: str
    language: str | None = None
    engine_seconds: float | None = None
    """Of these, time in which the engine worked."""
    stages: dict[str, float] | None = None
    """Seconds by stage and counts, where the subject tells them; stages overlap."""


Transcribe = Callable[[Task], Outcome]


def run_auricle(model: Path, threads: int, compute_type: str) -> Transcribe:
    """The library without HTTP: the pipeline here, the engine in its own process below."""
    from auricle.config import Settings
    from auricle.runtime import open_runtime
    from auricle.types import RequestInfo, TranscribeOptions

    loop = asyncio.new_event_loop()
    runtime = open_runtime(Settings(model=str(model), threads=threads, compute_type=compute_type))
    loop.run_until_complete(runtime.models.get())

    def transcribe(task: Task) -> Outcome:
        options = TranscribeOptions(beam_size=task.beam_size, language=task.language, word_timestamps=task.words)
        start = time.perf_counter()
        transcript = loop.run_until_complete(
            runtime.transcriber.run(Path(task.path), options, model=None, request=RequestInfo(request_id="bench"))
        )
        seconds = time.perf_counter() - start
        timings = asdict(transcript.timings)
        return Outcome(
            seconds=seconds,
            text=transcript.text,
            language=transcript.language,
            engine_seconds=timings["inference"],
            stages={name: round(value, 4) for name, value in timings.items()},
        )

    return transcribe


def run_faster_whisper(model: Path, threads: int, compute_type: str, *, batch_size: int | None) -> Transcribe:
    """The peer in its best case: in process, the model loaded; sequential, or in batches over its VAD."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    whisper = WhisperModel(str(model), device="cpu", compute_type=compute_type, cpu_threads=threads)
    batched = {"batch_size": batch_size} if batch_size else {}
    run = BatchedInferencePipeline(whisper).transcribe if batch_size else whisper.transcribe

    def transcribe(task: Task) -> Outcome:
        start = time.perf_counter()
        segments, info = run(
            task.path, beam_size=task.beam_size, language=task.language, word_timestamps=task.words, **batched
        )
        texts = [segment.text for segment in segments]  # they are decoded while this reads them
        seconds = time.perf_counter() - start
        return Outcome(seconds=seconds, text=" ".join(texts), language=info.language)

    return transcribe


def load(name: str, model: Path, threads: int, compute_type: str) -> Transcribe:
    """Raises ValueError for a name that is not known."""
    if name == "auricle":
        return run_auricle(model, threads, compute_type)
    if name == "faster-whisper":
        return run_faster_whisper(model, threads, compute_type, batch_size=None)
    if name == "faster-whisper batched-8":
        return run_faster_whisper(model, threads, compute_type, batch_size=8)
    raise ValueError(f"unknown subject {name!r}")


def main() -> None:
    """See the module."""
    name, model, threads, compute_type = sys.argv[1:]
    # Libraries may print; the answers go to a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    transcribe = load(name, Path(model), int(threads), compute_type)
    print("{}", file=answers)
    for line in sys.stdin:
        print(json.dumps(asdict(transcribe(Task(**json.loads(line))))), file=answers)


if __name__ == "__main__":
    main()
