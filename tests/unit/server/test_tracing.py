"""Spans of a request, through the middleware, into memory."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from scripted_runtime import AUDIO, HELLO, TRANSCRIPTIONS, ScriptedTranscriber, calling, scripted_app, transcript

from auricle.errors import CorruptAudio, EngineFailed, InvalidOption
from auricle.server import tracing
from auricle.types import Transcript

Spans = Callable[[], dict[str, ReadableSpan]]


class WorkingTranscriber(ScriptedTranscriber):
    """Tells of two pieces of features and one inference before it answers."""

    async def run(self, *args: Any, **options: Any) -> Transcript:
        started = options["request"].on_stage
        for stage, began, ended in (("features", 10.0, 10.5), ("inference", 10.5, 11.5), ("features", 11.0, 11.25)):
            started(stage, began, ended)
        return await super().run(*args, **options)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    """The finished spans by name."""
    exporter = InMemorySpanExporter()
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    monkeypatch.setattr(tracing, "open_tracing", lambda: tracing.Tracing(SimpleSpanProcessor(exporter)))
    return lambda: {span.name: span for span in exporter.get_finished_spans()}


async def ask(folder: Path, steps: list, data: dict | None = None, **headers: str) -> httpx.Response:
    async with calling(scripted_app(folder, WorkingTranscriber(steps), tracing=True)) as client:
        return await client.post(TRANSCRIPTIONS, files=AUDIO, data=data or {}, headers=headers)


async def test_a_request_is_a_span_and_each_stage_one_below_it(tmp_path: Path, spans: Spans) -> None:
    await ask(tmp_path, [transcript(HELLO)], {"model": "tiny", "prompt": "a secret"})
    found = spans()
    assert set(found) == {f"POST {TRANSCRIPTIONS}", "features", "inference"}
    root, features, inference = found[f"POST {TRANSCRIPTIONS}"], found["features"], found["inference"]
    assert root.kind is SpanKind.SERVER
    assert root.parent is None
    assert root.resource.attributes["service.name"] == "auricle"
    attributes = dict(root.attributes or {})
    assert attributes["http.route"] == TRANSCRIPTIONS
    assert attributes["http.response.status_code"] == 200
    assert attributes["auricle.model"] == "tiny"
    assert attributes["auricle.audio_seconds"] == 1.0
    assert root.status.status_code is StatusCode.UNSET
    span_id = root.context.span_id if root.context else None
    for child in (features, inference):
        assert child.parent is not None
        assert child.parent.span_id == span_id
    assert duration(features) == pytest.approx(1.25)
    assert dict(features.attributes or {}) == {"auricle.busy_seconds": 0.75, "auricle.pieces": 2}
    assert duration(inference) == pytest.approx(1.0)
    assert "secret" not in str([span.to_json() for span in found.values()])
    assert "Hello" not in str([span.to_json() for span in found.values()])


def duration(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


async def test_a_request_belongs_to_the_trace_of_its_caller(
    tmp_path: Path, spans: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    with caplog.at_level("INFO", "auricle.access"):
        await ask(tmp_path, [transcript(HELLO)], traceparent=f"00-{trace_id}-b7ad6b7169203331-01")
    root = spans()[f"POST {TRANSCRIPTIONS}"]
    assert root.parent is not None
    assert root.parent.span_id == 0xB7AD6B7169203331
    assert f"trace_id={trace_id}" in caplog.text


@pytest.mark.parametrize("header", ["", "00-zz-yy-01", "x" * 10_000])
async def test_a_broken_parent_begins_a_new_trace(tmp_path: Path, spans: Spans, header: str) -> None:
    response = await ask(tmp_path, [transcript(HELLO)], traceparent=header)
    assert response.status_code == 200
    assert spans()[f"POST {TRANSCRIPTIONS}"].parent is None


@pytest.mark.parametrize(
    ("error", "status"), [(EngineFailed("died"), StatusCode.ERROR), (CorruptAudio("broken"), StatusCode.UNSET)]
)
async def test_faults_of_the_server_are_errors_of_the_span_and_those_of_the_client_are_not(
    tmp_path: Path, spans: Spans, error: Exception, status: StatusCode
) -> None:
    await ask(tmp_path, [error])
    found = spans()
    root = found[f"POST {TRANSCRIPTIONS}"]
    assert root.status.status_code is status
    assert (root.attributes or {})["error.type"] == error.code  # pyright: ignore[reportAttributeAccessIssue]
    assert "inference" in found  # what was done until then is told too


async def test_questions_of_machines_are_not_traced(tmp_path: Path, spans: Spans) -> None:
    async with calling(scripted_app(tmp_path, tracing=True)) as client:
        for path in ("/health", "/metrics", "/v1/models", "/made-up/path"):
            await client.get(path)
    assert set(spans()) == {"GET /v1/models", "GET other"}


def test_tracing_without_its_packages_is_a_clear_error_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "auricle.server.tracing", None)
    with pytest.raises(InvalidOption, match=r"pip install 'auricle\[otel\]'"):
        scripted_app(tmp_path, tracing=True)
    scripted_app(tmp_path, tracing=False)
