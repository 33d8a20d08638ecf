"""What a run that broke off has left, so that the next one goes on from there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from auricle.pipeline.clip import WindowDone
from auricle.types import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipResult:
    """What a clip gave, or in the sequential mode one window; all that another run needs in place of it."""

    pieces: tuple[Span, ...]
    windows: tuple[WindowDone, ...]
    language: tuple[str | None, float | None]
    """Of the file, and its probability."""


def _save_nothing(number: int, result: ClipResult) -> None:
    del number, result


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The finished clips of earlier runs by number, and where this run tells of its own, in any order.

    They must come from the same audio, model and options. Decoding of the audio and the search for speech are done
    again, which is a small part of the work; no window is.
    """

    done: Mapping[int, ClipResult] = field(default_factory=dict[int, ClipResult])
    save: Callable[[int, ClipResult], None] = _save_nothing

    @property
    def language(self) -> tuple[str | None, float | None] | None:
        """What an earlier run took for the language of the file, if there was one."""
        return next((result.language for result in self.done.values()), None)

    def from_the_start(self) -> list[ClipResult]:
        """The results without a gap from the first on."""
        results: list[ClipResult] = []
        while (result := self.done.get(len(results))) is not None:
            results.append(result)
        return results


FROM_THE_START = Checkpoint()
"""Nothing is done yet, and nothing is saved."""
