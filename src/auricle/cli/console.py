"""What commands write besides their result: everything here goes to standard error."""

import os
from functools import cache

from rich.console import Console


@cache
def stderr() -> Console:
    """The console for notes, progress and errors."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(message: str) -> None:
    """Write one line of plain text."""
    stderr().print(message, markup=False)


def say_error(message: str) -> None:
    """Write ``error: …``, on one line whatever the message holds."""
    say("error: " + " ".join(message.split()))


def is_debugging() -> bool:
    """Whether errors show where they come from."""
    return os.environ.get("AURICLE_LOG_LEVEL", "").lower() == "debug"
