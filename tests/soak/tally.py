"""What is counted in a soak, in bounded memory however long it goes on."""

import random
import statistics
import time
from collections import Counter
from typing import Any

_KEPT_TIMES = 1000
_KEPT_FINDINGS = 50


class Tally:
    """Counts of answers, samples of their times, and the first of what must not happen."""

    def __init__(self, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        """All that is worth a number: ``ok``, ``refused``, ``left``, ``kills`` …"""
        self.answers: Counter[tuple[str, str]] = Counter()
        """By kind of request and status, or what else came of it."""
        self.findings: list[dict[str, Any]] = []
        self._began = time.monotonic()
        self._times: dict[str, _Reservoir] = {}
        self._random = random.Random(seed)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._began

    def add(self, kind: str, outcome: str, *, as_count: str, seconds: float | None = None) -> None:
        """A request that has ended as it may."""
        self.counts["requests"] += 1
        self.counts[as_count] += 1
        self.answers[kind, outcome] += 1
        if seconds is not None:
            self._times.setdefault(kind, _Reservoir(self._random)).add(seconds)

    def add_time(self, kind: str, seconds: float) -> None:
        """The time of something that is no transcription."""
        self._times.setdefault(kind, _Reservoir(self._random)).add(seconds)

    def find(self, what: str, **details: Any) -> None:
        """Something that must not happen, with what is needed to see it again."""
        self.counts["unexpected"] += 1
        if len(self.findings) < _KEPT_FINDINGS:
            self.findings.append({"at_s": round(self.seconds, 1), "what": what} | details)

    def to_json(self) -> dict[str, Any]:
        answers: dict[str, dict[str, int]] = {}
        for (kind, outcome), count in sorted(self.answers.items()):
            answers.setdefault(kind, {})[outcome] = count
        return {
            "counts": dict(self.counts),
            "answers": answers,
            "seconds": {kind: times.to_json() for kind, times in sorted(self._times.items())},
            "unexpected": self.findings,
        }


class _Reservoir:
    """A fair sample of many values (Vitter's algorithm R)."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._seen = 0
        self._kept: list[float] = []
        self._most = 0.0

    def add(self, value: float) -> None:
        self._seen += 1
        self._most = max(self._most, value)
        if len(self._kept) < _KEPT_TIMES:
            self._kept.append(value)
        elif (index := self._chance.randrange(self._seen)) < _KEPT_TIMES:
            self._kept[index] = value

    def to_json(self) -> dict[str, float]:
        ordered = sorted(self._kept)
        share = {f"p{percent}": ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] for percent in (95, 99)}
        figures = {"p50": statistics.median(ordered)} | share | {"max": self._most}
        return {"count": self._seen} | {name: round(value, 4) for name, value in figures.items()}
