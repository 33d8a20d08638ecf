"""How fast: a short clip (C2), a long file (C3), word timestamps (C10)."""

from collections.abc import Sequence
from statistics import mean
from typing import Any

from benchmarks.bench import Bench, Run, length_name, noise_of, seconds_of
from benchmarks.figures import Goal, Result, ratios, spread
from benchmarks.subjects import OURS, Subject
from benchmarks.worker import BATCHED, BATCHED_TIMED, DIRECT, SEQUENTIAL

LONG_PEERS = (BATCHED, BATCHED_TIMED, SEQUENTIAL)


def measure_clip(bench: Bench) -> list[Result]:
    """C2: one short clip on an idle machine, the language to be detected."""
    plan = bench.plan
    # Different clips, so that nobody can answer from memory.
    clips = [bench.record("speech", plan.clip_s, seed=seed) for seed in range(plan.clip_repeats)]
    results: list[Result] = []
    with bench.subjects((*OURS, SEQUENTIAL, *plan.others)) as subjects:
        for beam_size in plan.beams:
            runs = bench.in_turn("C2", subjects, clips, beam_size=beam_size)
            what = f"clip of {length_name(plan.clip_s)}, {beam_name(beam_size)}, language auto: latency"
            results += [
                _compare("C2", what, runs[ours], runs[peer], goal)
                for peer, goal in {SEQUENTIAL: Goal(at_most=0.45), **dict.fromkeys(plan.others)}.items()
                for ours in OURS
                if ours in runs and peer in runs
            ]
    return results


def measure_long_file(bench: Bench) -> list[Result]:
    """C3: long files with pauses, speed and word errors."""
    plan = bench.plan
    files = [bench.record("speech", plan.long_s, seed=seed) for seed in range(plan.repeats)]
    results: list[Result] = []
    goals = {BATCHED: Goal(at_least=2.0), BATCHED_TIMED: Goal(at_least=2.0), SEQUENTIAL: Goal(at_least=3.5)}
    with bench.subjects((*OURS, *LONG_PEERS, *plan.others)) as subjects:
        for beam_size in plan.beams:
            runs = bench.in_turn("C3", subjects, files, beam_size=beam_size)
            what = f"file of {length_name(plan.long_s)}, {beam_name(beam_size)}: RTFx"
            results += [
                _compare_rtfx(what, runs[ours], runs[peer], goals.get(peer))
                for ours in OURS
                for peer in (*LONG_PEERS, *plan.others)
                if ours in runs and peer in runs
            ]
    return results + _measure_word_errors(bench)


def _measure_word_errors(bench: Bench) -> list[Result]:
    """With the nano shape, since the others write what it writes, over enough files to tell a difference."""
    plan = bench.plan
    files = [bench.record("speech", plan.long_s, seed=seed) for seed in range(plan.wer_files)]
    results: list[Result] = []
    with bench.subjects((DIRECT, *LONG_PEERS), bench.nano) as subjects:
        for beam_size in plan.beams:
            runs = bench.in_turn("C3", subjects, files, beam_size=beam_size)
            what = f"{plan.wer_files} files of {length_name(plan.long_s)}, {beam_name(beam_size)}, nano: "
            for peer in LONG_PEERS:
                results.append(_compare_wer(what + "word errors, difference in points", runs[DIRECT], runs[peer]))
    return results


def measure_words(bench: Bench) -> list[Result]:
    """C10: what word timestamps cost."""
    plan = bench.plan
    recording = bench.record("speech", plan.long_s)
    results: list[Result] = []
    with bench.subjects((DIRECT, SEQUENTIAL, BATCHED)) as subjects:
        for beam_size in plan.beams:
            for subject in subjects:
                results.append(_words_of(bench, subject, recording, beam_size))
    return results


def beam_name(beam_size: int) -> str:
    """As the table says it."""
    return "greedy" if beam_size == 1 else f"beam {beam_size}"


def _words_of(bench: Bench, subject: Subject, recording: Any, beam_size: int) -> Result:
    without: list[Run] = []
    with_words: list[Run] = []
    for repeat in range(bench.plan.repeats):
        for words in (False, True) if repeat % 2 == 0 else (True, False):
            run = bench.run("C10", subject, recording, beam_size=beam_size, repeat=repeat, words=words)
            (with_words if words else without).append(run)
    on, off = seconds_of(with_words), seconds_of(without)
    is_ours = subject.name == DIRECT
    return Result(
        id="C10",
        measure=f"file of {length_name(recording.seconds)}, {beam_name(beam_size)}: time with words / without",
        subject=subject.name,
        peer=f"{subject.name}, no words",
        unit="s",
        ours=on,
        theirs=off,
        figure=ratios(on, off),
        goal=Goal(at_most=1.12) if is_ours else None,
        details=noise_of([*without, *with_words]),
    )


def _compare(id: str, what: str, ours: Sequence[Run], theirs: Sequence[Run], goal: Goal | None) -> Result:  # noqa: A002
    mine, other = seconds_of(ours), seconds_of(theirs)
    return Result(
        id=id,
        measure=what,
        subject=ours[0].subject,
        peer=theirs[0].subject,
        unit="s",
        ours=mine,
        theirs=other,
        figure=ratios(mine, other),
        goal=goal,
        details=_details(ours, theirs),
    )


def _compare_rtfx(what: str, ours: Sequence[Run], theirs: Sequence[Run], goal: Goal | None) -> Result:
    mine, other = (spread([run.rtfx for run in runs]) for runs in (ours, theirs))
    return Result(
        id="C3",
        measure=what,
        subject=ours[0].subject,
        peer=theirs[0].subject,
        unit="RTFx",
        ours=mine,
        theirs=other,
        figure=ratios(mine, other),
        goal=goal,
        details=_details(ours, theirs),
    )


def _compare_wer(what: str, ours: Sequence[Run], theirs: Sequence[Run]) -> Result:
    mine, other = (spread([100 * (run.wer or 0.0) for run in runs]) for runs in (ours, theirs))
    return Result(
        id="C3",
        measure=what,
        subject=ours[0].subject,
        peer=theirs[0].subject,
        unit="%",
        ours=mine,
        theirs=other,
        figure=spread([a - b for a, b in zip(mine.values, other.values, strict=True)]),
        # No worse, as far as it can be told: the standard error of an hour of audio is about 0.7 points.
        goal=Goal(at_most=0.5),
    )


def _details(ours: Sequence[Run], theirs: Sequence[Run]) -> dict[str, Any]:
    """What explains a figure: the engine's share, fallbacks, CPU time, noise."""
    details: dict[str, Any] = noise_of([*ours, *theirs])
    details["cpu_seconds"] = {
        runs[0].subject: round(mean(run.cpu_tree_seconds for run in runs), 2) for runs in (ours, theirs)
    }
    busy = [run.engine_seconds / run.seconds for run in ours if run.engine_seconds is not None]
    if busy:
        details["engine_share"] = round(mean(busy), 4)
    if ours[0].stages:
        details["stages"] = ours[0].stages
    return details
