"""The engines against each other, without a pipeline around them (ENGINE): ``python -m benchmarks.engines``.

Each is alone in a process of its own; they take turns, so that what disturbs the machine disturbs both. A batch that
comes again is not encoded again, and two lengths of text tell what a token costs.
"""

import json
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace

import numpy as np

from auricle.audio.decode import decode_audio
from auricle.audio.mel import log_mel
from auricle.units import N_FRAMES
from benchmarks.bench import Bench
from benchmarks.engine_errors import encoder_errors
from benchmarks.engine_worker import MOST_ROWS, Cost, Work
from benchmarks.figures import Goal, Result, ratios, spread
from benchmarks.recordings import Recording
from benchmarks.subjects import ModelSetup

OURS, THEIRS = "openvino", "ct2"
BATCHES = (1, 4, MOST_ROWS)
BEAMS = (1, 5)
_FEW, _MANY = 4, 28
_SPEECH_S = 28
_N_MELS = 80
_CLOCKS = {"wall": "seconds", "processor": "cpu_seconds"}


@dataclass(slots=True, kw_only=True)
class EngineProcess:
    """An engine that is loaded."""

    name: str
    process: "subprocess.Popen[str]"

    def run(self, work: Work) -> Cost:
        """Have a batch decoded. Raises RuntimeError where the process has ended."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asdict(work)) + "\n")
        self.process.stdin.flush()
        return Cost(**json.loads(self.read()))

    def read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"engine {self.name} ended with exit code {self.process.wait()}; its error is above")
        return line


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Of one engine, in seconds of one clock, one value a repeat."""

    encode: list[float]
    """A window."""
    token: dict[tuple[int, int], list[float]]
    """By rows of a batch and beams: a token of each row."""
    words: list[float]
    """Word times of one row."""


@contextmanager
def open_engines(setup: ModelSetup) -> Generator[list[EngineProcess]]:
    """Both, loaded; their processes end with the block."""
    with ExitStack() as stack:
        yield [stack.enter_context(_open_engine(name, setup)) for name in (OURS, THEIRS)]


def measure_engines(bench: Bench) -> list[Result]:
    """ENGINE: a window's encoding, a token in batches, and how exact the encodings are."""
    with open_engines(bench.setup) as engines:
        measured = measure_costs(engines, bench)
    results = [result for clock, costs in measured.items() for result in _compare(clock, costs[OURS], costs[THEIRS])]
    return [*results, _compare_errors(bench.setup, bench.record("speech", _SPEECH_S))]


def measure_costs(engines: Sequence[EngineProcess], bench: Bench) -> dict[str, dict[str, Costs]]:
    """By clock (``wall``, and ``processor`` of all threads) and engine."""
    recording = bench.record("speech", _SPEECH_S)
    for engine in engines:
        _measure_turn(engine, recording, "warm")  # threads, memory, kernels
    turns: list[dict[str, dict[str, Cost]]] = []
    for repeat in range(bench.plan.repeats):
        order = engines if repeat % 2 == 0 else engines[::-1]
        turns.append({engine.name: _measure_turn(engine, recording, f"{repeat}") for engine in order})
        bench.report(f"ENGINE repeat {repeat + 1} of {bench.plan.repeats}")
    return {
        clock: {engine.name: _collect([turn[engine.name] for turn in turns], attribute) for engine in engines}
        for clock, attribute in _CLOCKS.items()
    }


@contextmanager
def _open_engine(name: str, setup: ModelSetup) -> Generator[EngineProcess]:
    command = [sys.executable, "-m", "benchmarks.engine_worker", name]
    command += [str(setup.path), str(setup.threads), setup.compute_type]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    try:
        engine = EngineProcess(name=name, process=process)
        engine.read()
        yield engine
    finally:
        process.communicate()


def _measure_turn(engine: EngineProcess, recording: Recording, name: str) -> dict[str, Cost]:
    """By what was done: the names that ``_collect`` reads."""
    work = Work(recording=str(recording.path), rows=1, tokens=_FEW, window=f"new {name}")
    found = {"fresh": engine.run(work), "again": engine.run(work)}
    found["words"] = engine.run(replace(work, tokens=_MANY, words=True))
    found["no words"] = engine.run(replace(work, tokens=_MANY))
    for rows in BATCHES:
        batch = replace(work, rows=rows, window="kept")
        engine.run(batch)
        for beam_size in BEAMS:
            for tokens in (_FEW, _MANY):
                found[f"{rows} {beam_size} {tokens}"] = engine.run(replace(batch, beam_size=beam_size, tokens=tokens))
    return found


def _collect(turns: Sequence[Mapping[str, Cost]], attribute: str) -> Costs:
    def difference(more: str, less: str) -> list[float]:
        return [getattr(turn[more], attribute) - getattr(turn[less], attribute) for turn in turns]

    def token(rows: int, beam_size: int) -> list[float]:
        more = difference(f"{rows} {beam_size} {_MANY}", f"{rows} {beam_size} {_FEW}")
        return [seconds / (_MANY - _FEW) / rows for seconds in more]

    return Costs(
        encode=difference("fresh", "again"),
        token={(rows, beam_size): token(rows, beam_size) for rows in BATCHES for beam_size in BEAMS},
        words=difference("words", "no words"),
    )


def _compare(clock: str, ours: Costs, theirs: Costs) -> list[Result]:
    results = [_result(f"encoder, a window: {clock} time", ours.encode, theirs.encode, Goal(at_most=0.45))]
    for rows, beam_size in ours.token:
        beams = "greedy" if beam_size == 1 else f"beam {beam_size}"
        results.append(
            _result(
                f"decoder, a token of a row, batch of {rows}, {beams}: {clock} time",
                ours.token[rows, beam_size],
                theirs.token[rows, beam_size],
                Goal(at_most=0.8) if (rows, beam_size) == (8, 1) else None,
            )
        )
    return [*results, _result(f"word times of {_MANY} tokens: {clock} time", ours.words, theirs.words, None)]


def _compare_errors(setup: ModelSetup, recording: Recording) -> Result:
    features = log_mel(next(decode_audio(recording.path)), _N_MELS)
    padded = np.zeros((_N_MELS, N_FRAMES), np.float32)
    padded[:, : features.shape[1]] = features[:, :N_FRAMES]
    errors = encoder_errors(setup.path, setup.compute_type, padded, setup.threads)
    return _result(
        "encoder, relative error against float32", [errors[0]], [errors[1]], Goal(at_most=1.0), unit="%", scale=100
    )


def _result(
    measure: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    goal: Goal | None,
    *,
    unit: str = "ms",
    scale: float = 1000,
) -> Result:
    mine, other = (spread([scale * value for value in values]) for values in (ours, theirs))
    return Result(
        id="ENGINE",
        measure=measure,
        subject=OURS,
        peer=THEIRS,
        unit=unit,
        ours=mine,
        theirs=other,
        figure=ratios(mine, other),
        goal=goal,
    )


if __name__ == "__main__":
    from benchmarks.__main__ import main

    sys.argv[1:1] = ["--only", "ENGINE"]
    main()
