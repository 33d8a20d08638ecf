"""OpenTelemetry traces: one span a request, below it one for each stage of its run. Needs the extra ``otel``.

Spans are made when a request has ended, from what its record holds, so that nothing is paid while it runs, and a trace
is as large for ten hours of audio as for ten seconds: a stage's span reaches from its first beginning to its last end,
and says how much of that it worked. Where traces go is told by the ``OTEL_…`` variables of the OpenTelemetry
specification.
"""

import os

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import Scope

from auricle import __version__
from auricle.server.metrics import route_of
from auricle.server.record import RequestRecord


def open_tracing() -> "Tracing":
    """Traces that are sent over OTLP by HTTP, in the background."""
    return Tracing(BatchSpanProcessor(OTLPSpanExporter()))


class Tracing:
    """Makes spans and gives them to ``processor``; ``close`` it in the end."""

    def __init__(self, processor: SpanProcessor) -> None:
        name = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "auricle"}
        # Not the process-wide provider: an application that embeds the server keeps its own.
        self._provider = TracerProvider(resource=Resource.create(name), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("auricle", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def record(self, scope: Scope, record: RequestRecord) -> str:
        """Export a request that has ended, as a child of the caller's span where one was sent. Gives the trace's id."""
        parent = self._propagator.extract(dict(Headers(scope=scope)))
        route = route_of(scope)
        span = self._tracer.start_span(
            f"{scope['method']} {route}",
            context=parent,
            kind=SpanKind.SERVER,
            start_time=record.started_ns,
            attributes=_attributes(route, scope["method"], record),
        )
        if record.error is not None or record.status >= 500:
            # 4xx is the client's fault, which by convention is no error of the server's span.
            code = StatusCode.UNSET if 400 <= record.status < 500 else StatusCode.ERROR
            span.set_attribute("error.type", record.error or str(record.status))
            span.set_status(Status(code))
        inside = set_span_in_context(span, parent)
        for stage, time in record.stages.items():
            child = self._tracer.start_span(
                stage,
                context=inside,
                start_time=_wall_ns(record, time.began),
                attributes={"auricle.busy_seconds": time.busy_s, "auricle.pieces": time.pieces},
            )
            child.end(_wall_ns(record, time.ended))
        span.end(_wall_ns(record, record.started + record.seconds))
        return format_trace_id(span.get_span_context().trace_id)

    def close(self) -> None:
        """Send what is left; blocks for as long as the exporter's time-out."""
        self._provider.shutdown()


def _attributes(route: str, method: str, record: RequestRecord) -> dict[str, str | int | float]:
    timings = record.timings
    values: dict[str, str | int | float | None] = {
        "http.request.method": method,
        "http.route": route,
        "http.response.status_code": record.status,
        "auricle.file_bytes": record.file_bytes,
        "auricle.request_id": record.request_id,
        "auricle.model": record.model,
        "auricle.cache": record.cache,
        "auricle.audio_seconds": record.audio_s,
        "auricle.rtfx": timings.rtfx if timings else None,
        "auricle.windows": timings.windows if timings else None,
        "auricle.fallbacks": timings.fallbacks if timings else None,
        "auricle.max_batch_rows": timings.max_batch if timings else None,
    }
    return {name: value for name, value in values.items() if value is not None}


def _wall_ns(record: RequestRecord, moment: float) -> int:
    return record.started_ns + round((moment - record.started) * 1e9)
