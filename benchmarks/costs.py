"""What it costs beside the network: overhead (C7), memory (C8), silence and noise (C9)."""

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.bench import Bench, Run, length_name, noise_of, seconds_of
from benchmarks.figures import Goal, Result, ratios, spread
from benchmarks.processes import resident_mib, tree_of, watch_memory
from benchmarks.recordings import Kind, Recording
from benchmarks.speed import beam_name
from benchmarks.subjects import HTTP, Subject
from benchmarks.worker import BATCHED, DIRECT, SEQUENTIAL


def measure_overhead(bench: Bench) -> list[Result]:
    """C7: the time of a long file in which the engine does not work."""
    plan = bench.plan
    files = [bench.record("speech", plan.long_s, seed=seed) for seed in range(plan.repeats)]
    results: list[Result] = []
    with bench.subjects((HTTP, DIRECT)) as subjects:
        for beam_size in plan.beams:
            runs = bench.in_turn("C7", subjects, files, beam_size=beam_size)
            what = f"file of {length_name(plan.long_s)}, {beam_name(beam_size)}: "
            for subject in subjects:
                results.append(_overhead(what, runs[subject.name]))
                results.append(_parent_cpu(what, runs[subject.name]))
    return results


def measure_memory(bench: Bench) -> list[Result]:
    """C8: peak memory of a very long file. The nano shape: what grows with a file is not the model."""
    plan = bench.plan
    short, long = bench.record("speech", plan.long_s), bench.record("speech", plan.very_long_s)
    used = {
        (name, recording.name): _use_memory(bench, name, recording)
        for recording in (short, long)
        for name in (HTTP, SEQUENTIAL, BATCHED)
    }
    ours = used[HTTP, long.name]
    flat = _memory_result(
        f"server and engine, nano: peak memory, file of {length_name(long.seconds)}",
        (ours, ours.peak_mib),
        (used[HTTP, short.name], used[HTTP, short.name].peak_mib),
        Goal(at_most=1.25),
        peer=f"{HTTP}, {length_name(short.seconds)}",
    )
    extra = [
        _memory_result(
            f"file of {length_name(long.seconds)}, nano: peak memory above that of the idle process",
            (ours, ours.extra_mib),
            (used[peer, long.name], used[peer, long.name].extra_mib),
            Goal(at_most=0.25),
            peer=peer,
        )
        for peer in (SEQUENTIAL, BATCHED)
    ]
    return [flat, *extra]


def measure_silence(bench: Bench) -> list[Result]:
    """C9: nothing is said, for a long time."""
    plan = bench.plan
    beam_size = plan.beams[-1]
    results: list[Result] = []
    with bench.subjects((DIRECT, SEQUENTIAL, BATCHED)) as subjects:

        def measure(subject: Subject, kind: Kind) -> list[Run]:
            recording = bench.record(kind, plan.long_s)
            return [bench.run("C9", subject, recording, beam_size=beam_size, repeat=n) for n in range(plan.repeats)]

        ours = subjects[0]
        spoken = measure(ours, "speech")
        for kind in ("silence", "noise"):
            what = f"{length_name(plan.long_s)} of {kind}, {beam_name(beam_size)}: "
            runs = {subject.name: measure(subject, kind) for subject in subjects}
            results.append(_silence_time(what, runs[ours.name], spoken))
            results += [_silence_words(what, runs[subject.name]) for subject in subjects]
    return results


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """Of a fresh tree of processes that transcribes one file."""

    subject: str
    audio: str
    idle_mib: float
    """Model loaded, one short clip done."""
    peak_mib: float
    high_water_mib: float | None
    seconds: float

    @property
    def extra_mib(self) -> float:
        return max(0.0, self.peak_mib - self.idle_mib)


def _use_memory(bench: Bench, name: str, recording: Recording) -> MemoryUse:
    with bench.subjects([name], bench.nano) as (subject,):
        idle = resident_mib(tree_of(subject.pid))
        with watch_memory(subject.pid) as peak:
            run = bench.run("C8", subject, recording, beam_size=bench.plan.beams[0])
    bench.report(f"C8  {name:30} {recording.name:18} idle {idle:.0f} MiB, peak {peak.sampled_mib:.0f} MiB")
    return MemoryUse(
        subject=name,
        audio=recording.name,
        idle_mib=round(idle, 1),
        peak_mib=round(peak.sampled_mib, 1),
        high_water_mib=round(peak.high_water_mib, 1) if peak.high_water_mib else None,
        seconds=run.seconds,
    )


def _memory_result(
    what: str, ours: tuple[MemoryUse, float], theirs: tuple[MemoryUse, float], goal: Goal, *, peer: str
) -> Result:
    mine, other = spread([ours[1]]), spread([theirs[1]])
    return Result(
        id="C8",
        measure=what,
        subject=HTTP,
        peer=peer,
        unit="MiB",
        ours=mine,
        theirs=other,
        figure=ratios(mine, other),
        goal=goal,
        details={"uses": [asdict(ours[0]), asdict(theirs[0])]},
    )


def _silence_time(what: str, silent: list[Run], spoken: list[Run]) -> Result:
    mine, other = seconds_of(silent), seconds_of(spoken)
    return Result(
        id="C9",
        measure=what + "time / time of speech",
        subject=DIRECT,
        peer=f"{DIRECT}, speech",
        unit="s",
        ours=mine,
        theirs=other,
        figure=ratios(mine, other),
        goal=Goal(at_most=0.02),
        details=noise_of([*silent, *spoken]),
    )


def _silence_words(what: str, runs: list[Run]) -> Result:
    words = spread([float(run.text_words) for run in runs])
    return Result(
        id="C9",
        measure=what + "words",
        subject=runs[0].subject,
        peer=None,
        unit="words",
        ours=words,
        theirs=None,
        figure=words,
        goal=Goal(at_most=0) if runs[0].subject == DIRECT else None,
        details={"seconds": [round(run.seconds, 3) for run in runs]},
    )


def _overhead(what: str, runs: list[Run]) -> Result:
    wall = seconds_of(runs)
    outside = spread([run.seconds - (run.engine_seconds or 0.0) for run in runs])
    details: dict[str, Any] = noise_of(runs)
    if runs[0].stages:
        details["stages"] = runs[0].stages
    return Result(
        id="C7",
        measure=what + "time without the engine / all time",
        subject=runs[0].subject,
        peer="all of its time",
        unit="s",
        ours=outside,
        theirs=wall,
        figure=ratios(outside, wall),
        goal=Goal(at_most=0.06),
        details=details,
    )


def _parent_cpu(what: str, runs: list[Run]) -> Result:
    parent = spread([run.cpu_parent_seconds for run in runs])
    tree = spread([run.cpu_tree_seconds for run in runs])
    return Result(
        id="C7",
        measure=what + "processor time outside the engine's process / all",
        subject=runs[0].subject,
        peer="with the engine's process",
        unit="s",
        ours=parent,
        theirs=tree,
        figure=ratios(parent, tree),
        goal=None,
        details=noise_of(runs),
    )
