"""Curves: throughput and latency over the number of clients, time over the length of a file."""

from typing import Any

from benchmarks.bench import Bench, length_name
from benchmarks.figures import Goal, Result, spread
from benchmarks.recordings import Recording
from benchmarks.serving import AUTO, LOCK, OPENVINO, OURS, PEERS, Way, check, latencies, open_ways, plan_load, send
from benchmarks.subjects import HTTP

CURVE, LENGTH = "CURVE", "LENGTH"


def measure_curve(bench: Bench) -> list[Result]:
    """Clips of one length from 1 to 32 clients."""
    plan = plan_load(bench.plan.load_minutes)
    most = max(plan.least_clips, plan.levels[-1])
    clips = [bench.record("speech", bench.plan.clip_s, seed=seed) for seed in range(most)]
    points: dict[str, list[dict[str, Any]]] = {}
    with open_ways(bench, (HTTP, HTTP + AUTO, OPENVINO, LOCK)) as ways:
        for level in plan.levels:
            for way in ways:
                some = clips[: max(plan.least_clips, level)]
                points.setdefault(way.name, []).append(_level(bench, way, some, level))
    return [_curve(bench, name, levels) for name, levels in points.items()]


def measure_lengths(bench: Bench) -> list[Result]:
    """Files from seconds to minutes, one at a time."""
    plan = plan_load(bench.plan.load_minutes)
    points: dict[str, list[dict[str, Any]]] = {}
    with open_ways(bench, (*OURS, *PEERS)) as ways:
        for seconds in plan.lengths:
            recording = bench.record("speech", seconds)
            for way in ways:
                load = send(bench, LENGTH, way, [way.caller("file", [recording], 1)], [recording])
                (answer,) = check(load.traffic).answers
                points.setdefault(way.name, []).append(
                    {"audio_s": seconds, "seconds": round(answer.seconds, 4)} | load.facts
                )
    return [_length(name, of) for name, of in points.items()]


def _level(bench: Bench, way: Way, clips: list[Recording], level: int) -> dict[str, Any]:
    load = send(bench, CURVE, way, [way.caller("clips", clips, level)], clips)
    check(load.traffic)
    wall = load.traffic.wall_s
    return {
        "concurrency": level,
        "rtfx": round(sum(clip.seconds for clip in clips) / wall, 3),
        "requests_s": round(len(clips) / wall, 3),
        **latencies(load.traffic.answers),
        **load.facts,
    }


def _curve(bench: Bench, name: str, levels: list[dict[str, Any]]) -> Result:
    first, last = levels[0], levels[-1]
    return Result(
        id=CURVE,
        measure=f"clips of {length_name(bench.plan.clip_s)}, greedy: throughput with {last['concurrency']} clients / "
        f"{first['concurrency']}",
        subject=name,
        peer=f"{name}, {first['concurrency']} client",
        unit="RTFx",
        ours=spread([last["rtfx"]]),
        theirs=spread([first["rtfx"]]),
        figure=spread([last["rtfx"] / first["rtfx"]]),
        goal=Goal(at_least=0.95) if name.removesuffix(AUTO) in OURS else None,
        details={"levels": levels},
    )


def _length(name: str, points: list[dict[str, Any]]) -> Result:
    rtfx = spread([points[-1]["audio_s"] / points[-1]["seconds"]])
    return Result(
        id=LENGTH,
        measure=f"file of {length_name(points[-1]['audio_s'])}, greedy, over HTTP: RTFx",
        subject=name,
        peer=None,
        unit="RTFx",
        ours=rtfx,
        theirs=None,
        figure=rtfx,
        goal=None,
        details={"points": points},
    )
