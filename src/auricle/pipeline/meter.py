"""What a request has cost so far."""

from dataclasses import dataclass
from time import perf_counter

from auricle.types import Answer, OnStage, Timings
from auricle.units import samples_to_seconds


@dataclass(slots=True)
class Meter:
    """Counts of one request, in seconds where not said otherwise; used on the event loop only."""

    decode: float = 0.0
    vad: float = 0.0
    features: float = 0.0
    queue: float = 0.0
    inference: float = 0.0
    diarization: float = 0.0
    samples: int = 0
    """Decoded samples of audio."""
    windows: int = 0
    fallbacks: int = 0
    max_batch: int = 0
    on_stage: OnStage | None = None
    """Told of each piece of work as it is counted, which is when it ends."""

    def add_decode(self, seconds: float) -> None:
        self.decode += seconds
        self._tell("decode", seconds)

    def add_vad(self, seconds: float) -> None:
        self.vad += seconds
        self._tell("vad", seconds)

    def add_features(self, seconds: float) -> None:
        self.features += seconds
        self._tell("features", seconds)

    def add_diarization(self, seconds: float) -> None:
        self.diarization += seconds
        self._tell("diarization", seconds)

    def add_answer(self, answer: Answer) -> None:
        """A row's queue time and its share of the batch's time."""
        self.queue += answer.queued_s
        self.inference += answer.inference_s / max(answer.batch_rows, 1)
        self.max_batch = max(self.max_batch, answer.batch_rows)
        self._tell("queue", answer.queued_s, before=answer.inference_s)
        self._tell("inference", answer.inference_s)

    def timings(self, total: float) -> Timings:
        """The counts as they are reported, with ``total`` seconds of wall clock."""
        return Timings(
            decode=self.decode,
            vad=self.vad,
            features=self.features,
            queue=self.queue,
            inference=self.inference,
            diarization=self.diarization,
            total=total,
            audio=samples_to_seconds(self.samples),
            windows=self.windows,
            fallbacks=self.fallbacks,
            max_batch=self.max_batch,
        )

    def _tell(self, stage: str, seconds: float, *, before: float = 0.0) -> None:
        if self.on_stage is not None:
            ended = perf_counter() - before
            self.on_stage(stage, ended - seconds, ended)
