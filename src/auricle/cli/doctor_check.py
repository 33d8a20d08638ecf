"""What a check of ``auricle doctor`` finds."""

from collections.abc import Callable
from dataclasses import dataclass, field

from auricle.errors import AuricleError


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; ``values`` are for programs, ``text`` is for people."""

    name: str
    ok: bool
    text: str
    values: dict[str, object] = field(default_factory=dict[str, object])


def checked(name: str, look: Callable[[], tuple[str, dict[str, object]]]) -> Check:
    """What ``look`` finds; a failure where it raises."""
    try:
        text, values = look()
    except AuricleError as error:
        return Check(name, False, error.message, {"error": error.code, "message": error.message})
    except ImportError as error:
        return Check(name, False, str(error), {"error": "import", "message": str(error)})
    return Check(name, True, text, values)
