"""What becomes of a job whose run ended with an error. Pure; chance is handed in."""

from dataclasses import dataclass

from auricle.errors import AuricleError, Busy, EngineFailed, JobError, JobKilledEngine

MAX_CRASHES = 3
FIRST_DELAY_S = 5.0
MAX_DELAY_S = 300.0
_BUSY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """The job runs again after a while; ``failures`` and ``crashes`` are added to its account."""

    delay_s: float
    failures: int = 0
    crashes: int = 0


def judge(
    error: AuricleError,
    *,
    may_pass: bool,
    failures: int,
    crashes: int,
    has_begun: bool,
    max_failures: int,
    chance: float,
) -> Again | AuricleError:
    """When to run the job again, or the error that it ends with.

    ``failures`` and ``crashes`` are those of earlier runs without progress. What is busy is waited for, however long;
    where an error ``may_pass``, there are ``max_failures`` runs, after pauses that grow. An engine that fails once the
    work ``has_begun`` has been killed, as far as can be known, by this job's audio. ``chance`` is from [0, 1).
    """
    if isinstance(error, Busy):
        return Again(delay_s=error.retry_after_s or _BUSY_S)
    if not may_pass:
        return error
    is_crash = has_begun and isinstance(error, EngineFailed)
    if is_crash and crashes + 1 >= MAX_CRASHES:
        return killed_engine(error.message)
    if failures + 1 >= max_failures:
        return error
    # Half of the pause is by chance, so that jobs that failed together do not come back together.
    delay_s = min(MAX_DELAY_S, FIRST_DELAY_S * 2.0**failures) * (0.5 + chance / 2)
    return Again(delay_s=max(delay_s, error.retry_after_s or 0.0), failures=1, crashes=int(is_crash))


def killed_engine(last_words: str | None = None) -> JobKilledEngine:
    """The error of a job that is not tried again."""
    details = f" The last time: {last_words}" if last_words else ""
    return JobKilledEngine(
        f"The engine, or the server itself, died {MAX_CRASHES} times while it worked on this job; it is not tried "
        f"again.{details}"
    )


def error_of(code: str | None, message: str | None) -> AuricleError:
    """The error that a failed job ended with."""
    kinds: list[type[AuricleError]] = [AuricleError]
    for kind in kinds:
        if kind.code == code:
            return kind(message or "The job failed.")
        kinds.extend(kind.__subclasses__())
    return JobError(message or "The job failed.")
