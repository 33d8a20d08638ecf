"""Whether memory grows: a line through its means, and a series that stays short."""

import math
from typing import Any

_BLOCKS = 20
_POINTS = 400
ALLOWED_GROWTH = 0.05
"""Of the mean, over the whole run."""


class Growth:
    """Takes samples between ``begin_s`` and ``end_s`` as means of 20 equal blocks of time."""

    def __init__(self, begin_s: float, end_s: float) -> None:
        self._begin_s = begin_s
        self._end_s = end_s
        self._block_s = (end_s - begin_s) / _BLOCKS
        self._sums = [0.0] * _BLOCKS
        self._counts = [0] * _BLOCKS

    def add(self, at_s: float, mib: float) -> None:
        """A sample; those outside of the time do not count."""
        if self._begin_s <= at_s < self._end_s:
            block = min(_BLOCKS - 1, int((at_s - self._begin_s) / self._block_s))
            self._sums[block] += mib
            self._counts[block] += 1

    def judge(self, run_s: float) -> dict[str, Any]:
        """The line's slope, and whether the growth it foretells for ``run_s`` is within 5 % and two standard errors.

        ``is_flat`` is None where there are too few samples for a line.
        """
        points = [
            ((index + 0.5) * self._block_s, total / count)
            for index, (total, count) in enumerate(zip(self._sums, self._counts, strict=True))
            if count
        ]
        if len(points) < _BLOCKS // 2:
            return {"is_flat": None}
        slope, error = _fit(points)
        mean = sum(mib for _, mib in points) / len(points)
        growth, bound = slope * run_s, ALLOWED_GROWTH * mean + 2 * error * run_s
        return {
            "is_flat": growth <= bound,
            "mean_mib": round(mean, 1),
            "slope_mib_per_min": round(slope * 60, 4),
            "slope_error_mib_per_min": round(error * 60, 4),
            "growth_mib": round(growth, 1),
            "bound_mib": round(bound, 1),
        }


class Series:
    """Samples, thinned evenly as they become many."""

    def __init__(self) -> None:
        self.points: list[tuple[float, ...]] = []
        self._stride = 1
        self._seen = 0

    def add(self, *values: float) -> None:
        if self._seen % self._stride == 0:
            self.points.append(tuple(round(value, 1) for value in values))
        self._seen += 1
        if len(self.points) >= _POINTS:
            self.points = self.points[::2]
            self._stride *= 2


def _fit(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Slope of the line of least squares, and its standard error."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    left = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
    return slope, math.sqrt(left / (count - 2) / spread)
