"""What the exit status of a command says: one table for the program, its help and the docs."""

from auricle import errors

OK = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 130
TERMINATED = 143

EXIT_CODES: dict[type[errors.AuricleError], int] = {
    errors.AuricleError: FAILED,
    errors.InvalidOption: USAGE,
    errors.UnsupportedOption: USAGE,
    errors.InputError: 3,
    errors.NotFound: 4,
    errors.Busy: 5,
    errors.EngineError: 6,
    errors.JobError: 7,
    errors.Forbidden: 8,
}
"""An error has the code of its nearest ancestor here."""

MEANINGS: dict[int, str] = {
    OK: "done",
    FAILED: "failed: a check of `doctor` or `demo`, a file that cannot be written, a defect",
    USAGE: "wrong usage: an unknown option, a wrong value, one that the model cannot do",
    3: "the audio cannot be used: not audio, broken, empty, too large, too long",
    4: "not found: the model",
    5: "busy or out of reach: the same command can succeed later",
    6: "the engine is not installed, failed, or ran out of memory",
    7: "a job could not be run to its end",
    8: "refused by the server: no key, a wrong one, or one that may not do that",
    INTERRUPTED: "interrupted by Ctrl-C",
    TERMINATED: "ended by SIGTERM",
}


def exit_code(error: errors.AuricleError) -> int:
    """Exit status of a command that ends with ``error``."""
    return next(EXIT_CODES[ancestor] for ancestor in type(error).__mro__ if ancestor in EXIT_CODES)


def describe_exit_codes() -> str:
    """The table as text, one line a code."""
    return "\n".join(f"{code:>3}  {meaning}" for code, meaning in MEANINGS.items())
