"""Figures: a few values with their median and spread, and what a goal makes of them."""

import re
import statistics
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import jiwer


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Values of repeats in the order they were measured."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def to_json(self) -> dict[str, Any]:
        return {
            "median": round(self.median, 4),
            "min": round(min(self.values), 4),
            "max": round(max(self.values), 4),
            "values": [round(value, 4) for value in self.values],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A bound of the figure; exactly one of the two is set."""

    at_most: float | None = None
    at_least: float | None = None

    def is_met(self, figure: float) -> bool:
        if self.at_most is not None:
            return figure <= self.at_most
        return self.at_least is not None and figure >= self.at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One row of the table: what was compared, and the figure that the goal is about."""

    id: str
    measure: str
    subject: str
    peer: str | None
    unit: str
    """Of ``ours`` and ``theirs``; the figure is a plain number."""
    ours: Spread
    theirs: Spread | None
    figure: Spread
    """Ratio of ours to theirs, repeat by repeat, or the value itself where there is no peer."""
    goal: Goal | None
    details: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the goal; None where there is none."""
        return None if self.goal is None else self.goal.is_met(self.figure.median)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "measure": self.measure,
            "subject": self.subject,
            "peer": self.peer,
            "unit": self.unit,
            "ours": self.ours.to_json(),
            "theirs": self.theirs.to_json() if self.theirs else None,
            "figure": self.figure.to_json(),
            "goal": {name: bound for name, bound in asdict(self.goal).items() if bound is not None}
            if self.goal
            else None,
            "met": self.met,
            "details": self.details,
        }


def spread(values: Sequence[float]) -> Spread:
    """Raises ValueError where there are none."""
    if not values:
        raise ValueError("nothing was measured")
    return Spread(values=tuple(values))


def ratios(ours: Spread, theirs: Spread) -> Spread:
    """Ours divided by theirs, pairwise: what disturbs the machine mostly disturbs both of a pair.

    Raises ValueError where the counts differ or theirs has a zero.
    """
    if len(ours.values) != len(theirs.values) or 0 in theirs.values:
        raise ValueError(f"cannot pair {ours.values} with {theirs.values}")
    return spread([a / b for a, b in zip(ours.values, theirs.values, strict=True)])


def word_error_rate(reference: str, text: str) -> float:
    """Wrong words per word of the reference; case and punctuation do not count. Raises ValueError for no reference."""
    wanted, got = _words(reference), _words(text)
    if not wanted:
        raise ValueError("the reference has no words")
    return float(jiwer.wer(" ".join(wanted), " ".join(got))) if got else 1.0


def count_words(text: str) -> int:
    """Words of a text, punctuation not counted."""
    return len(_words(text))


def _words(text: str) -> list[str]:
    plain = "".join(c if unicodedata.category(c)[0] in "LNM" or c == "'" else " " for c in text.lower())
    return re.findall(r"\S+", plain)
