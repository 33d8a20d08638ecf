"""Many clients: throughput of clips (C1), long files at once (C4), a clip meanwhile (C5), fair shares (C6)."""

import random
from collections.abc import Sequence
from typing import Any

from benchmarks.bench import Bench, length_name
from benchmarks.figures import Goal, Result, ratios, spread
from benchmarks.loadgen import Answer
from benchmarks.recordings import Recording
from benchmarks.serving import (
    AUTO,
    LOCK,
    OPENVINO,
    OURS,
    PEERS,
    Load,
    Way,
    check,
    latencies,
    open_ways,
    percentile,
    plan_load,
    send,
)
from benchmarks.subjects import HTTP

ALL_WAYS = (HTTP, HTTP + AUTO, OPENVINO, OPENVINO + AUTO, *PEERS)


def measure_clips(bench: Bench) -> list[Result]:
    """C1: clips of 3-10 s, all different, from several clients at once."""
    plan = plan_load(bench.plan.load_minutes)
    loads: dict[str, list[Load]] = {}
    rates: dict[str, list[float]] = {}
    with open_ways(bench, ALL_WAYS) as ways:
        for round_ in range(plan.rounds):
            clips = clips_of_all_lengths(bench, plan.clips, seed=round_)
            first = round_ % len(ways)
            for way in (*ways[first:], *ways[:first]):
                load = send(bench, "C1", way, [way.caller("clips", clips, plan.clients)], clips)
                check(load.traffic)
                loads.setdefault(way.name, []).append(load)
                rates.setdefault(way.name, []).append(sum(clip.seconds for clip in clips) / load.traffic.wall_s)
    what = f"{plan.clips} clips of 3-10 s, {plan.clients} clients, greedy: throughput"
    return _against_peers(
        "C1", what, "RTFx", values=rates, loads=loads, goal=Goal(at_least=2), auto_goal=Goal(at_least=3.5)
    )


def measure_long_files(bench: Bench) -> list[Result]:
    """C4: several long files at once, until all are done."""
    plan = plan_load(bench.plan.load_minutes)
    files = [bench.record("speech", plan.long_s, seed=seed) for seed in range(plan.long_files)]
    loads: dict[str, list[Load]] = {}
    with open_ways(bench, (*OURS, *PEERS)) as ways:
        for way in ways:
            load = send(bench, "C4", way, [way.caller("files", files, len(files))], files)
            check(load.traffic)
            loads[way.name] = [load]
    what = f"{len(files)} files of {length_name(plan.long_s)} at once, greedy: total time"
    times = {name: [load.traffic.wall_s for load in some] for name, some in loads.items()}
    return _against_peers("C4", what, "s", values=times, loads=loads, goal=Goal(at_most=0.5), auto_goal=None)


def measure_clip_under_load(bench: Bench) -> list[Result]:
    """C5: short clips, one after the other, while long files run; against the same on an idle server."""
    plan = plan_load(bench.plan.load_minutes)
    clips = [bench.record("speech", bench.plan.clip_s, seed=seed) for seed in range(plan.loaded_clips)]
    files = [bench.record("speech", plan.long_s, seed=seed) for seed in range(plan.long_files)]
    results: list[Result] = []
    # The machine belongs to one at a time: a server that answers in order goes on with what was given up.
    for name in (*OURS, LOCK):
        with open_ways(bench, [name]) as ways:
            for way in ways:
                idle = send(bench, "C5", way, [way.caller("clips", clips[: plan.idle_clips], 1, pause_s=0.2)])
                callers = [
                    way.caller("files", files * 20, len(files)),  # they shall not run out
                    way.caller("clips", clips, 1, pause_s=0.2, start_s=2.0, address="127.0.0.2"),
                ]
                loaded = send(bench, "C5", way, callers, until="clips", limit_s=plan.limit_s)
                results.append(_clip_under_load(bench, way, check_all(idle), check_all(loaded)))
    return results


def measure_shares(bench: Bench) -> list[Result]:
    """C6: a caller with few requests beside one with many."""
    plan = plan_load(bench.plan.load_minutes)
    clips = [bench.record("speech", bench.plan.clip_s, seed=seed) for seed in range(plan.loaded_clips)]
    results: list[Result] = []
    for name in (*OURS, LOCK):
        with open_ways(bench, [name]) as ways:
            for way in ways:
                supply = clips * 50  # they shall not run out
                for few, many in ((1, 20), (4, 20))[: 2 if name in OURS else 1]:
                    alone = send(bench, "C6", way, [way.caller("small", supply, few)], limit_s=plan.share_s / 2)
                    alone_rate = len(check_all(alone).traffic.of("small")) / (plan.share_s / 2)
                    callers = [
                        way.caller("large", supply, many),
                        way.caller("small", supply, few, address="127.0.0.2", start_s=1.0),
                    ]
                    both = check_all(send(bench, "C6", way, callers, limit_s=plan.share_s))
                    counts = {
                        caller: count_after(both.traffic.of(caller), 1.0) / (plan.share_s - 1)
                        for caller in ("small", "large")
                    }
                    results.append(_share(way, both, few=few, many=many, rates=counts, alone=alone_rate))
    return results


def fair_rate(alone: float) -> float:
    """What is due to one of two callers that always wait for something: half of the machine, and thus half of what it
    gets alone with as many requests open (generalized processor sharing)."""
    return alone / 2


def count_after(answers: Sequence[Answer], start_s: float) -> int:
    """Answers that came since."""
    return sum(answer.end_s >= start_s for answer in answers)


def clips_of_all_lengths(bench: Bench, count: int, seed: int) -> list[Recording]:
    """3 to 10 s, no two alike."""
    lengths = random.Random(seed)
    return [
        bench.record("speech", round(lengths.uniform(3, 10), 1), seed=1000 * (seed + 1) + number)
        for number in range(count)
    ]


def check_all(load: Load) -> Load:
    """``check`` of its traffic."""
    check(load.traffic)
    return load


def _clip_under_load(bench: Bench, way: Way, idle: Load, loaded: Load) -> Result:
    p50 = percentile([answer.seconds for answer in idle.traffic.of("clips")], 0.5)
    # Those that were given up count with the time that they had waited: the figure is then too good.
    clips = [answer for answer in loaded.traffic.answers if answer.caller == "clips"]
    p95 = percentile([answer.seconds for answer in clips], 0.95)
    plan = plan_load(bench.plan.load_minutes)
    files = f"{plan.long_files} files of {length_name(plan.long_s)} run"
    return Result(
        id="C5",
        measure=f"clip of {length_name(bench.plan.clip_s)} while {files}, greedy: p95 / p50 idle",
        subject=way.name,
        peer=f"{way.name}, idle",
        unit="s",
        ours=spread([p95]),
        theirs=spread([p50]),
        figure=spread([p95 / p50]),
        goal=Goal(at_most=4) if way.name in OURS else None,
        details={
            "idle": idle.facts,
            "loaded": loaded.facts,
            "p50_loaded_s": round(percentile([answer.seconds for answer in clips], 0.5), 4),
            "clips": len(clips),
            "clips_given_up": sum(answer.status == 0 for answer in clips),
        },
    )


def _share(way: Way, load: Load, *, few: int, many: int, rates: dict[str, float], alone: float) -> Result:
    fair = fair_rate(alone)
    small = load.traffic.of("small")
    return Result(
        id="C6",
        measure=f"{few} against {many} requests at once, greedy: share of the small caller / fair",
        subject=way.name,
        peer="a fair share",
        unit="clips/s",
        ours=spread([rates["small"]]),
        theirs=spread([fair]),
        figure=spread([rates["small"] / fair if fair else 0.0]),
        goal=Goal(at_least=0.9) if way.name in OURS else None,
        details={"rates": rates, "alone": alone} | load.facts | (latencies(small) if small else {}),
    )


def _against_peers(
    id: str,  # noqa: A002
    what: str,
    unit: str,
    *,
    values: dict[str, list[float]],
    loads: dict[str, list[Load]],
    goal: Goal,
    auto_goal: Goal | None,
) -> list[Result]:
    """Every way of ours against every peer; alone where no peer is here."""
    return [
        Result(
            id=id,
            measure=what,
            subject=name,
            peer=peer,
            unit=unit,
            ours=spread(values[name]),
            theirs=spread(values[peer]) if peer else None,
            figure=ratios(spread(values[name]), spread(values[peer])) if peer else spread(values[name]),
            goal=(auto_goal if name.endswith(AUTO) else goal) if peer else None,
            details={who: [_facts(load) for load in loads[who]] for who in (name, peer) if who},
        )
        for name in values
        if name not in PEERS
        for peer in ([peer for peer in PEERS if peer in values] or [None])
    ]


def _facts(load: Load) -> dict[str, Any]:
    return load.facts | latencies(load.traffic.answers)
