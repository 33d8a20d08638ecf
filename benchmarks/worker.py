"""A transcriber in a process of its own: ``python -m benchmarks.worker NAME MODEL THREADS COMPUTE_TYPE``.

It loads the model, writes a line (``{}``, or which module is not installed), then answers one JSON line (a ``Task``)
with another (an ``Outcome``) until its input ends. A process of its own gives each side its own memory, and threads
that do not meet the other's.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DIRECT = "auricle"
OPENVINO = "auricle openvino"
SEQUENTIAL = "faster-whisper"
BATCHED = "faster-whisper batched-8"
BATCHED_TIMED = "faster-whisper batched-8 timed"
WHISPER_CPP = "whisper.cpp"
OPENAI_WHISPER = "openai-whisper"
TRANSFORMERS = "transformers"
OTHER_ENGINES = (WHISPER_CPP, OPENAI_WHISPER, TRANSFORMERS)
"""These are installed with ``auricle[peers]``, often in an environment of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One transcription; for the other options see who transcribes."""

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


def run_auricle(model: Path, threads: int, compute_type: str, *, engine: str) -> Transcribe:
    """The library without HTTP: the pipeline here, the engine in its own process below."""
    from auricle.config import Settings
    from auricle.runtime import open_runtime
    from auricle.types import RequestInfo, TranscribeOptions

    loop = asyncio.new_event_loop()
    runtime = open_runtime(Settings(model=str(model), threads=threads, compute_type=compute_type, engine=engine))
    loop.run_until_complete(runtime.models.load())

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


def run_sequential(model: Path, threads: int, compute_type: str) -> Transcribe:
    """The peer's sequential mode with our defaults: VAD, and no conditioning on previous text.

    With conditioning (the peer's default) nano loses half of the words: it has hardly seen previous text in training.
    """
    peer = _load_peer(model, threads, compute_type)
    return _ask_peer(peer.transcribe, vad_filter=True, condition_on_previous_text=False)


def run_batched(model: Path, threads: int, compute_type: str, *, without_timestamps: bool) -> Transcribe:
    """The peer's batched mode, 8 rows, over its own VAD.

    By default it decodes no timestamps, which is less work than ours; with them it gives what we give. It never tries
    a failed window again.
    """
    from faster_whisper import BatchedInferencePipeline

    peer = BatchedInferencePipeline(_load_peer(model, threads, compute_type))
    return _ask_peer(peer.transcribe, batch_size=8, without_timestamps=without_timestamps)


def _load_peer(model: Path, threads: int, compute_type: str) -> Any:
    from faster_whisper import WhisperModel

    return WhisperModel(str(model), device="cpu", compute_type=compute_type, cpu_threads=threads)


def _ask_peer(run: Callable[..., Any], **options: Any) -> Transcribe:
    """Its best case: called in its own process, with the model loaded."""

    def transcribe(task: Task) -> Outcome:
        start = time.perf_counter()
        segments, info = run(
            task.path, beam_size=task.beam_size, language=task.language, word_timestamps=task.words, **options
        )
        texts = [segment.text for segment in segments]  # they are decoded while this reads them
        return Outcome(seconds=time.perf_counter() - start, text=" ".join(texts), language=info.language)

    return transcribe


def load(name: str, model: Path, threads: int, compute_type: str) -> Transcribe:
    """Raises ValueError for a name that is not known."""
    if name in (DIRECT, OPENVINO):
        return run_auricle(model, threads, compute_type, engine="openvino" if name == OPENVINO else "ct2")
    if name == SEQUENTIAL:
        return run_sequential(model, threads, compute_type)
    if name in (BATCHED, BATCHED_TIMED):
        return run_batched(model, threads, compute_type, without_timestamps=name == BATCHED)
    if name in OTHER_ENGINES:
        from benchmarks.peer_engines import run_openai_whisper, run_transformers, run_whisper_cpp

        run = {WHISPER_CPP: run_whisper_cpp, OPENAI_WHISPER: run_openai_whisper, TRANSFORMERS: run_transformers}[name]
        return run(model, threads)
    raise ValueError(f"unknown subject {name!r}")


def main() -> None:
    """See the module."""
    name, model, threads, compute_type = sys.argv[1:]
    # Libraries may print; the answers go to a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    try:
        transcribe = load(name, Path(model), int(threads), compute_type)
    except ModuleNotFoundError as error:
        print(json.dumps({"not_installed": error.name}), file=answers)
        return
    print("{}", file=answers)
    for line in sys.stdin:
        print(json.dumps(asdict(transcribe(Task(**json.loads(line))))), file=answers)


if __name__ == "__main__":
    main()
