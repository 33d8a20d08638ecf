"""An engine alone, in a process of its own: ``python -m benchmarks.engine_worker ENGINE MODEL THREADS COMPUTE_TYPE``.

It writes a line when it is loaded, then answers one JSON line (a ``Work``) with another (a ``Cost``) until its input
ends. The windows are speech; the end of text is forbidden, so that every row has as many tokens as were asked for.
"""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from auricle.audio.decode import decode_audio
from auricle.audio.mel import log_mel
from auricle.engines.base import Engine, EngineConfig
from auricle.engines.heap import keep_freed_memory
from auricle.engines.registry import load_engine
from auricle.tokenizer import Tokenizer
from auricle.types import DecodingOptions, Row

MOST_ROWS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A batch."""

    recording: str
    rows: int
    tokens: int
    beam_size: int = 1
    temperature: float = 0.0
    words: bool = False
    window: str = "0"
    """Names the windows: an engine keeps what it encoded, and the same windows are not encoded again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a batch took."""

    seconds: float
    cpu_seconds: float
    """Processor time of all threads."""


def main() -> None:
    """See the module."""
    engine_name, model, threads, compute_type = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    keep_freed_memory()
    engine = cast(
        "Engine",
        load_engine(
            EngineConfig(
                engine=engine_name,
                model_name=Path(model).name,
                model_path=Path(model),
                device="cpu",
                compute_type=compute_type,
                threads=int(threads),
                # Else it would not keep the windows of larger batches than its own.
                max_batch=MOST_ROWS,
            )
        ),
    )
    tokenizer = Tokenizer(Path(model))
    prompt = tokenizer.sequence(language="en", task="transcribe", timestamps=True, multilingual=True)
    print(json.dumps({"compute_type": engine.info.compute_type}), file=answers)
    for line in sys.stdin:
        work = Work(**json.loads(line))
        features = log_mel(next(decode_audio(Path(work.recording))), engine.info.n_mels)
        options = DecodingOptions(
            beam_size=work.beam_size,
            temperature=work.temperature,
            max_new_tokens=work.tokens,
            suppress_tokens=(tokenizer.eot,),
            word_timestamps=work.words,
        )
        rows = [
            Row(key=f"{work.window}:{number}", features=features, prompt=prompt, options=options)
            for number in range(work.rows)
        ]
        start, cpu_start = time.perf_counter(), time.process_time()
        engine.decode(rows)
        cost = Cost(seconds=time.perf_counter() - start, cpu_seconds=time.process_time() - cpu_start)
        print(json.dumps(asdict(cost)), file=answers)
    engine.close()


if __name__ == "__main__":
    main()
