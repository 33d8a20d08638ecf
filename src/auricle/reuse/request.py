"""What a request says about the reuse of its result."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Policy = Literal["share", "refresh", "private"]
"""``share`` takes and gives what it can; ``refresh`` decodes again and keeps the answer; ``private`` does neither."""

Outcome = Literal["hit", "miss", "joined"]
"""From the store; decoded for this request; from a run that another request had begun."""


def _keep_nothing() -> Callable[[], None]:
    return lambda: None


def _tell_nobody(outcome: Outcome) -> None:
    del outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """Goes with a request whose result may be kept or come from elsewhere."""

    sha256: str | None = None
    """Of the source's bytes, in hex; computed from the file where None."""
    policy: Policy = "share"
    scope: str = ""
    """Results are shared within a scope only."""
    lingers: bool = True
    """Whether a run goes on for a while when all have left it, for one that tries again."""
    keep: Callable[[], Callable[[], None]] = _keep_nothing
    """Keeps the source from going away until what it returns is called: a run may outlast the request."""
    report: Callable[[Outcome], None] = _tell_nobody
    """Called before the first part of the transcript."""
