"""``GET /metrics``, and what is counted and measured for it at the edge of the server."""

import json
from collections.abc import Iterator
from http import HTTPStatus

import psutil
from fastapi import APIRouter, Request, Response
from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

from auricle.batching.metrics import CONTENT_TYPE, Metrics
from auricle.pipeline.memory import process_bytes
from auricle.pipeline.models import Models
from auricle.server.admission import Admission
from auricle.server.context import RequestContext
from auricle.server.record import RequestRecord

router = APIRouter(tags=["health"])

TRANSCRIBING_TAG = "audio"
"""Routes with this tag are those whose requests ask for a transcript."""

CLIENT_LEFT = 499
"""Status of a request whose client did not wait for its answer, as nginx writes it."""

_NO_ROUTE = "other"


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}, "application/json": {}}}},
)
async def metrics(request: Request, context: RequestContext) -> Response:
    """The text format of Prometheus; where ``Accept`` prefers JSON, a summary of the requests so far as JSON."""
    found = context.runtime.metrics
    if _prefers_json(request.headers.get("accept", "")):
        return Response(json.dumps(summary(found)), media_type="application/json")
    return Response(found.render(), media_type=CONTENT_TYPE)


def summary(found: Metrics) -> dict[str, float]:
    """Requests for a transcript: all, those taken on, those refused, and the mean time of those that got one."""
    total, rejected = _sum(found.requests, "_total"), _sum(found.rejected, "_total")
    answered = _sum(found.request_seconds, "_count")
    mean_s = _sum(found.request_seconds, "_sum") / answered if answered else 0.0
    return {
        "total_requests": int(total),
        "accepted_requests": int(total - rejected),
        "rejected_requests": int(rejected),
        "avg_processing_time_ms": round(mean_s * 1000, 3),
    }


def transcriptions_by_model(found: Metrics) -> dict[str, int]:
    """Transcripts that each model has made so far."""
    samples = (sample for family in found.transcriptions.collect() for sample in family.samples)
    return {sample.labels["model"]: int(sample.value) for sample in samples if sample.name.endswith("_total")}


def count_request(found: Metrics, scope: Scope, record: RequestRecord) -> None:
    """Count a request that has ended; the only place that does."""
    route = route_of(scope)
    found.http_requests.labels(route, str(record.status)).inc()
    found.http_request_seconds.labels(route).observe(record.seconds)
    # A request with a method that the route does not have asked for nothing.
    if TRANSCRIBING_TAG in getattr(scope.get("route"), "tags", ()) and record.status != HTTPStatus.METHOD_NOT_ALLOWED:
        is_rejected = 400 <= record.status < CLIENT_LEFT or record.status == HTTPStatus.SERVICE_UNAVAILABLE
        found.count_request(_outcome(record), is_rejected=is_rejected, seconds=record.seconds)


def route_of(scope: Scope) -> str:
    """The route's path with its parameters' names in it, of which there are few, unlike of paths."""
    return getattr(scope.get("route"), "path", _NO_ROUTE)


class ServerState(Collector):
    """Gauges that are read when somebody asks, on the event loop."""

    def __init__(self, models: Models, admission: Admission) -> None:
        self._models = models
        self._admission = admission

    def describe(self) -> list[Metric]:
        """The gauges without values."""
        return server_gauges()

    def collect(self) -> Iterator[Metric]:
        """The gauges as they stand."""
        gauges = _gauges()
        loaded = self._models.loaded()
        gauges["requests"].add_metric([], self._admission.requests)
        gauges["audio"].add_metric([], self._admission.queued_audio_s)
        gauges["models"].add_metric([], len(loaded))
        gauges["memory"].add_metric(["server", ""], psutil.Process().memory_info().rss)
        for model in loaded:
            gauges["model"].add_metric([model.name, model.info.engine, model.info.device, model.info.compute_type], 1)
            if memory := sum(process_bytes(pid) for pid in model.recognizer.pids):
                gauges["memory"].add_metric(["engine", model.name], memory)
        yield from gauges.values()


def server_gauges() -> list[Metric]:
    """The gauges of ``ServerState`` without values."""
    return list(_gauges().values())


def _gauges() -> dict[str, GaugeMetricFamily]:
    return {
        "requests": GaugeMetricFamily(
            "auricle_requests_in_progress", "Requests for a transcript that are being worked on, uploads included."
        ),
        "audio": GaugeMetricFamily("auricle_queued_audio_seconds", "Audio that these requests have still to do."),
        "models": GaugeMetricFamily("auricle_models_loaded", "Models in memory."),
        "model": GaugeMetricFamily(
            "auricle_model_loaded",
            "1 for each model in memory.",
            labels=["model", "engine", "device", "compute_type"],
        ),
        "memory": GaugeMetricFamily(
            "auricle_memory_bytes",
            "Resident memory of the `server` process, and of the `engine` processes of each model.",
            labels=["process", "model"],
        ),
    }


def _outcome(record: RequestRecord) -> str:
    if record.status == CLIENT_LEFT:
        return "cancelled"
    if record.error is None and record.status >= 400:
        return HTTPStatus(record.status).phrase.lower().replace(" ", "_")
    return record.error or "ok"


def _sum(metric: Counter | Histogram, suffix: str) -> float:
    return sum(sample.value for family in metric.collect() for sample in family.samples if sample.name.endswith(suffix))


def _prefers_json(accept: str) -> bool:
    """Whether JSON is the best of what the header names; what it names first wins among equals."""
    ranges = [_media_range(part) for part in accept[:1000].split(",")]
    known = [found for found in ranges if found[0] in _KNOWN_RANGES and found[1] > 0]
    return bool(known) and max(known, key=lambda found: found[1])[0] == "application/json"


_KNOWN_RANGES = {"application/json", "application/openmetrics-text", "text/plain", "text/*", "*/*"}


def _media_range(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip() for piece in part.split(";"))
    quality = next((value for key, _, value in (p.partition("=") for p in parameters) if key.strip() == "q"), "1")
    try:
        return name.lower(), float(quality)
    except ValueError:
        return name.lower(), 0.0
