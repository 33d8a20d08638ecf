"""What the batching tells Prometheus. Each instance has a registry of its own: no state outlives it."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of one server, shared by all its schedulers."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.windows = Counter("auricle_windows", "Rows decoded.", registry=self.registry)
        self.requests = Counter("auricle_requests", "Requests ended, by status.", ["status"], registry=self.registry)
        self.engine_restarts = Counter(
            "auricle_engine_restarts", "Engine processes started in place of one that ended.", registry=self.registry
        )
        self.queue_seconds = Histogram(
            "auricle_queue_seconds", "Time from asking to the engine's start.", buckets=_SECONDS, registry=self.registry
        )
        self.inference_seconds = Histogram(
            "auricle_inference_seconds", "Time of a batch in the engine.", buckets=_SECONDS, registry=self.registry
        )
        self.batch_rows = Histogram("auricle_batch_rows", "Rows of a batch.", buckets=_ROWS, registry=self.registry)
        self._queues: list[Callable[[], int]] = []
        queue_rows = Gauge("auricle_queue_rows", "Rows that wait.", registry=self.registry)
        queue_rows.set_function(lambda: sum(length() for length in self._queues))

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Count a queue in ``auricle_queue_rows``; ``length`` is called at each reading."""
        self._queues.append(length)

    def forget_queue(self, length: Callable[[], int]) -> None:
        """Stop counting a queue."""
        self._queues.remove(length)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format, whose media type is ``CONTENT_TYPE``."""
        return generate_latest(self.registry)
