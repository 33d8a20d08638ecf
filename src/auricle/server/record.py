"""What is known of a request, for its log line, its metrics and its trace."""

import time
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from auricle.types import Timings, Transcript

_PRIVATE_FIELDS = {
    "prompt",
    "initial_prompt",
    "keywords",
    "hotwords",
    "known_speaker_names",
    "known_speaker_references",
}
"""Form fields whose values errors may quote to the client, but not to the log."""


@dataclass(slots=True)
class StageTime:
    """When a stage of a run first began and last ended, by ``time.perf_counter``, and its work in between."""

    began: float
    ended: float
    busy_s: float = 0.0
    pieces: int = 0


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """What is told of a request to the outside; routes fill in what they learn. Never audio, text or keys."""

    request_id: str
    started: float = field(default_factory=time.perf_counter)
    started_ns: int = field(default_factory=time.time_ns)
    """The same moment by the clock on the wall."""
    ended: float | None = None
    status: int = 0
    owner: str | None = None
    """Id of the key, where there is one."""
    file_bytes: int | None = None
    audio_hash: str | None = None
    """SHA-256 of the file in hex: names the audio without holding any of it."""
    audio_s: float | None = None
    model: str | None = None
    """As it was asked for."""
    timings: Timings | None = None
    """Of the run for this request; None where there was none."""
    cache: str | None = None
    """Whether the transcript came from the cache, where that was asked: ``hit``, ``joined``, ``miss``."""
    error: str | None = None
    """Code of the error, also of one that came after the answer had begun."""
    error_message: str | None = None
    trace_id: str | None = None
    stages: dict[str, StageTime] = field(default_factory=dict[str, StageTime])

    @property
    def seconds(self) -> float:
        """How long the request took, or has taken so far."""
        return (self.ended or time.perf_counter()) - self.started

    def finish(self, transcript: Transcript) -> None:
        """Take note of the answer; timings of a transcript out of the cache are those of another request."""
        self.audio_s = transcript.duration
        self.timings = transcript.timings if self.cache in {None, "miss"} else None

    def fail(self, code: str | None, message: str, param: str | None = None) -> None:
        """Take note of an error; ``param`` is the form field at fault."""
        self.error = code
        is_private = param is not None and param.partition(".")[0].removesuffix("[]") in _PRIVATE_FIELDS
        self.error_message = f"{param} cannot be used; the log does not quote it" if is_private else message

    def add_stage(self, stage: str, began: float, ended: float) -> None:
        """Take note of a piece of work; see ``types.OnStage``."""
        seen = self.stages.setdefault(stage, StageTime(began, ended))
        seen.began, seen.ended = min(seen.began, began), max(seen.ended, ended)
        seen.busy_s += ended - began
        seen.pieces += 1


def record_of(connection: HTTPConnection) -> RequestRecord:
    """The record of the request at hand."""
    return connection.scope["auricle.record"]
