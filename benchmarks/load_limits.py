"""What is not decoded: answers from the cache (C11), and requests that a full server refuses (FLOOD)."""

import re
from typing import Any

import httpx

from benchmarks.bench import Bench, length_name
from benchmarks.figures import Goal, Result, count_words, spread
from benchmarks.loadgen import Answer
from benchmarks.recordings import Recording
from benchmarks.serving import Load, Way, check, open_ways, percentile, plan_load, send
from benchmarks.subjects import HTTP

FLOOD = "FLOOD"
QUEUE = 16
"""Requests that the flooded server takes at once."""

_WINDOWS = re.compile(r"^auricle_windows_total(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
_FLOOD_FILES = 8


def measure_cache(bench: Bench) -> list[Result]:
    """C11: the same audio and options again."""
    plan = plan_load(bench.plan.load_minutes)
    files = [
        *(bench.record("speech", bench.plan.clip_s, seed=seed) for seed in range(plan.cached - 1)),
        bench.record("speech", plan.long_s),
    ]
    with open_ways(bench, [HTTP]) as (way,):
        check(send(bench, "C11", way, [way.caller("first", files, 1, headers={})]).traffic)
        before = _windows(way)
        again = send(bench, "C11", way, [way.caller("again", files * 3, 1, headers={}, pause_s=0.05)])
        check(again.traffic)
        decoded = _windows(way) - before
    answers = again.traffic.answers
    what = f"clips and a file of {length_name(plan.long_s)} again: "
    taken = tuple(answer.server_ms or 0.0 for answer in answers)
    details = again.facts | {
        "client_p50_ms": round(1e3 * percentile([answer.seconds for answer in answers], 0.5), 2),
        "hits": sum(answer.cache == "hit" for answer in answers),
    }
    return [
        _alone(
            "C11",
            what + "server's time in ms, upload included",
            "ms",
            values=taken,
            goal=Goal(at_most=10),
            details=details,
        ),
        _alone("C11", what + "windows decoded", "windows", values=(decoded,), goal=Goal(at_most=0)),
    ]


def measure_flood(bench: Bench) -> list[Result]:
    """Far more requests at once than the server takes: each is answered right, or refused at once and politely."""
    plan = plan_load(bench.plan.load_minutes)
    files = [bench.record("speech", bench.plan.clip_s, seed=seed) for seed in range(_FLOOD_FILES)]
    flood = (files * plan.flood)[: plan.flood]
    with open_ways(bench, [HTTP], ["--max-requests", str(QUEUE)]) as (way,):
        calm = send(bench, FLOOD, way, [way.caller("calm", files, 1)], files)
        texts = {answer.file: answer.text for answer in check(calm.traffic).answers}
        load = send(bench, FLOOD, way, [way.caller("flood", flood, len(flood))], health_s=0.05)
    return _flood_results(load, texts, flood)


def is_refusal(answer: Answer) -> bool:
    """With a status that says why, and a time after which to try again."""
    return answer.status in (429, 503) and (answer.retry_after or "").isdecimal()


def is_right(answer: Answer, texts: dict[str, str]) -> bool:
    """The text that the file has on a calm server."""
    return answer.status == 200 and count_words(answer.text) > 0 and answer.text == texts[answer.file]


def _flood_results(load: Load, texts: dict[str, str], flood: list[Recording]) -> list[Result]:
    answers = load.traffic.answers
    right = [answer for answer in answers if is_right(answer, texts)]
    refused = [answer for answer in answers if is_refusal(answer)]
    what = f"{len(flood)} requests at once, room for {QUEUE}: "
    bad = float(len(flood) - len(right) - len(refused))
    counts = load.facts | {"right": len(right), "refused": len(refused)}
    results = [
        _alone(
            FLOOD, what + "neither right nor refused", "requests", values=(bad,), goal=Goal(at_most=0), details=counts
        )
    ]
    if refused:
        taken = [answer.seconds for answer in refused]
        told = {"server_p95_ms": percentile([answer.server_ms or 0.0 for answer in refused], 0.95)}
        for name, value in (("p95", percentile(taken, 0.95)), ("longest", max(taken))):
            results.append(
                _alone(
                    FLOOD, f"{what}time to a refusal, {name}", "s", values=(value,), goal=Goal(at_most=1), details=told
                )
            )
    health = load.traffic.health_s
    p95 = percentile(health, 0.95)
    details = {"calls": len(health), "longest_s": round(max(health), 4)}
    return [
        *results,
        _alone(FLOOD, what + "/health meanwhile, p95", "s", values=(p95,), goal=Goal(at_most=0.05), details=details),
    ]


def _alone(
    id: str,  # noqa: A002
    measure: str,
    unit: str,
    *,
    values: tuple[float, ...],
    goal: Goal,
    details: dict[str, Any] | None = None,
) -> Result:
    figure = spread(values)
    return Result(
        id=id,
        measure=measure,
        subject=HTTP,
        peer=None,
        unit=unit,
        ours=figure,
        theirs=None,
        figure=figure,
        goal=goal,
        details=details or {},
    )


def _windows(way: Way) -> float:
    """Rows decoded so far; of a server that has decoded none, there is no such line."""
    text = httpx.get(f"{way.url}/metrics", trust_env=False).raise_for_status().text
    return sum(float(value) for value in _WINDOWS.findall(text))
