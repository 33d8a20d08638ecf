"""What the server counts for Prometheus. Each instance has a registry of its own: no state outlives it.

A request is counted once, where its answer leaves (``count_request``, by the server's outermost layer), so that one
that is refused early counts too. A run of the pipeline is counted once, where its transcript is complete
(``add_transcript``), so that a request that needs no run adds no seconds. Rows and batches are counted by the
scheduler. Labels hold names from fixed sets and names of models that were loaded, never what a client sent.
"""

from collections.abc import Callable, Mapping
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from auricle.job_types import JobStatus
from auricle.types import STAGES, Transcript

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_LONG_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_JOB_SECONDS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0, 30_000.0, 100_000.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
_RTFX = (0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Counters of one server, shared by all its schedulers."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter(
            "auricle_requests", "Requests for a transcript that ended: `ok`, `cancelled` or an error's code.", "status"
        )
        self.rejected = self._counter(
            "auricle_rejected",
            "Requests for a transcript that were refused (status 4xx or 503) rather than failed, by the error's code.",
            "code",
        )
        self.request_seconds = self._histogram(
            "auricle_request_seconds",
            "Time of a request that got its transcript, upload and answer included.",
            _LONG_SECONDS,
        )
        self.transcriptions = self._counter(
            "auricle_transcriptions", "Runs of the pipeline that gave a transcript.", "model"
        )
        self.audio_seconds = self._counter("auricle_audio_seconds", "Audio of the transcripts.")
        self.processing_seconds = self._counter(
            "auricle_processing_seconds",
            "Wall time of the runs. `rate(auricle_audio_seconds_total)` is the throughput; audio seconds divided by "
            "processing seconds is the mean speed of a run.",
        )
        self.rtfx = self._histogram(
            "auricle_rtfx", "Audio seconds per second of processing, of each run; higher is better.", _RTFX
        )
        self.stage_seconds = self._counter(
            "auricle_stage_seconds",
            "Time in each stage of the runs; stages work side by side, so the sum may exceed the wall time. Of a "
            "batch's inference each row has its share.",
            "stage",
        )
        for stage in STAGES:
            self.stage_seconds.labels(stage)
        self.fallbacks = self._counter("auricle_fallbacks", "Windows decoded again at a higher temperature.")
        self.dropped_seconds = self._counter(
            "auricle_dropped_seconds", "Audio that gave no text: `silence` (no speech found), `no_speech`.", "reason"
        )
        self.windows = self._counter(
            "auricle_windows", "Rows decoded: windows, their further tries, language detections."
        )
        self.queue_seconds = self._histogram(
            "auricle_queue_seconds", "Time of a row from asking to the engine's start.", _SECONDS
        )
        self.inference_seconds = self._histogram(
            "auricle_inference_seconds", "Time of a batch in the engine; where rows join and leave, of a row.", _SECONDS
        )
        self.batch_rows = self._histogram(
            "auricle_batch_rows", "Rows of a batch; where rows join and leave, those inside when one joins.", _ROWS
        )
        self.steps = self._counter("auricle_steps", "Steps of engines whose rows join and leave: a token for each row.")
        self.slot_steps = self._counter(
            "auricle_slot_steps",
            "Slots in use, summed over the steps. `rate(auricle_slot_steps_total) / rate(auricle_steps_total)` is how "
            "many are in use while the engine works.",
        )
        self.engine_restarts = self._counter(
            "auricle_engine_restarts", "Engine processes started in place of one that ended."
        )
        self.http_requests = self._counter(
            "auricle_http_requests",
            "HTTP requests by route (its template; `other` where there is none) and status; 499 is a client that left.",
            "route",
            "status",
        )
        self.http_request_seconds = self._histogram(
            "auricle_http_request_seconds",
            "Time from a request's head to the end of its answer, streams included.",
            _LONG_SECONDS,
            "route",
        )
        self.cache_hits = self._counter("auricle_cache_hits", "Transcripts that were answered from the cache.")
        self.cache_misses = self._counter(
            "auricle_cache_misses", "Transcripts that were asked of the cache, or made to be kept there, and decoded."
        )
        self.joined = self._counter(
            "auricle_joined", "Transcripts that came from a run which another request had begun."
        )
        self.cache_bytes = Gauge("auricle_cache_bytes", "Size of the transcripts in the cache.", registry=self.registry)
        self.jobs = Gauge(
            "auricle_jobs", "Jobs by status, ended ones as long as they are kept.", ["status"], registry=self.registry
        )
        self.job_seconds = self._histogram(
            "auricle_job_seconds", "Time of a job from its acceptance to its end.", _JOB_SECONDS, "status"
        )
        self._slots: list[Callable[[], tuple[int, int]]] = []
        slots_used = Gauge("auricle_slots_used", "Slots in use now.", registry=self.registry)
        slots_used.set_function(lambda: sum(usage()[0] for usage in self._slots))
        slots = Gauge("auricle_slots", "Slots of engines whose rows join and leave.", registry=self.registry)
        slots.set_function(lambda: sum(usage()[1] for usage in self._slots))
        self._queues: list[Callable[[], int]] = []
        queue_rows = Gauge("auricle_queue_rows", "Rows that wait.", registry=self.registry)
        queue_rows.set_function(self.queue_rows)

    def add_transcript(self, model: str, transcript: Transcript) -> None:
        """Count a run of the pipeline; ``model`` is the name under which the model is loaded."""
        timings = transcript.timings
        self.transcriptions.labels(model).inc()
        self.audio_seconds.inc(timings.audio)
        self.processing_seconds.inc(timings.total)
        self.rtfx.observe(timings.rtfx)
        for stage in STAGES:
            self.stage_seconds.labels(stage).inc(getattr(timings, stage))
        self.fallbacks.inc(timings.fallbacks)
        for span in transcript.dropped:
            self.dropped_seconds.labels(span.reason).inc(span.end - span.start)

    def set_jobs(self, counts: Mapping[str, int]) -> None:
        """How many jobs there are, by status."""
        for status in get_args(JobStatus):
            self.jobs.labels(status).set(counts.get(status, 0))

    def add_job(self, status: str, seconds: float) -> None:
        """Count a job that has ended, so long after it was accepted."""
        self.job_seconds.labels(status).observe(seconds)

    def count_request(self, status: str, *, is_rejected: bool, seconds: float) -> None:
        """Count a request for a transcript at its end; ``status`` is ``ok``, ``cancelled`` or an error's code."""
        self.requests.labels(status).inc()
        if is_rejected:
            self.rejected.labels(status).inc()
        elif status == "ok":
            self.request_seconds.observe(seconds)

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Count a queue in ``auricle_queue_rows``; ``length`` is called at each reading."""
        self._queues.append(length)

    def forget_queue(self, length: Callable[[], int]) -> None:
        """Stop counting a queue."""
        self._queues.remove(length)

    def queue_rows(self) -> int:
        """Rows that wait in all queues."""
        return sum(length() for length in self._queues)

    def watch_slots(self, usage: Callable[[], tuple[int, int]]) -> None:
        """Count an engine's slots; ``usage`` is called at each reading and gives those in use and all."""
        self._slots.append(usage)

    def forget_slots(self, usage: Callable[[], tuple[int, int]]) -> None:
        """Stop counting them."""
        self._slots.remove(usage)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format, whose media type is ``CONTENT_TYPE``."""
        return generate_latest(self.registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, meaning, labels, buckets=buckets, registry=self.registry)
