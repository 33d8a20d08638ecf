"""What rows cost on an engine, and how long a batch may thus be while somebody waits for a short answer.

On a CPU each row of a batch costs an encoding of its own, about half of its time; sharing a batch saves a quarter to a
third of the rest. A batch of four long rows therefore takes three times as long as one row, and a clip that comes
meanwhile waits for all of it, where the engine cannot pause between its steps. So while short requests come, batches of
long ones hold as many rows as fit into ``max_batch_s``. A GPU does a batch in little more than the time of a row;
nothing is limited there.
"""

from auricle.types import ModelInfo

QUIET_S = 60.0
"""So long after the last short request batches are full again."""
_NEW = 0.3
"""Weight of the newest batch in the mean."""


class Pace:
    """Seconds per row, learnt from the batches; the limit that follows from them."""

    def __init__(self, *, max_batch_s: float) -> None:
        self._max_batch_s = max_batch_s
        self._row_s = 0.0
        self._short_until = float("-inf")
        self.batch_s = 0.0
        """Of the last batch."""

    def add_batch(self, rows: int, seconds: float, *, is_whole: bool) -> None:
        """Learn from a batch; ``is_whole`` is False where its rows were only looked at for their language."""
        self.batch_s = seconds
        if is_whole:
            row_s = seconds / rows
            self._row_s = row_s if self._row_s == 0 else (1 - _NEW) * self._row_s + _NEW * row_s

    def note_short(self, now: float) -> None:
        """A request has come whose answer is soon wanted."""
        self._short_until = now + QUIET_S

    def max_long_rows(self, now: float, max_rows: int, info: ModelInfo, *, must_share: bool) -> int | None:
        """See ``queue.Queue.take``: None where the rows of a batch cost the same together as alone.

        ``must_share`` says that another engine waits for the device, for which no batch gives way.
        """
        if info.device != "cpu" or self._max_batch_s == 0:
            return None
        if info.gives_way == "between_steps" and not must_share:
            return max_rows
        if now >= self._short_until or self._row_s == 0:
            return max_rows
        return max(1, min(max_rows, int(self._max_batch_s / self._row_s)))
