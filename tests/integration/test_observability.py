"""What a real server tells of its work: log, metrics, traces."""

import hashlib
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from live_server import DIGITS, LiveServer, live_server, wait_until
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

PATH = "/v1/audio/transcriptions"
PRIVATE = {"prompt": "Zanzibar marmalade", "keywords[]": "Quetzalcoatl"}


def ask(server: LiveServer, audio: bytes, **more) -> httpx.Response:
    return httpx.post(server.url + PATH, files={"file": ("Xylophone.wav", audio)}, timeout=60, **more)


def samples(server: LiveServer) -> dict[str, float]:
    families = text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text)
    return {
        sample.name + "".join(f"[{value}]" for _, value in sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_the_log_has_a_line_a_request_and_nothing_of_what_was_said(tmp_path: Path) -> None:
    audio = DIGITS.read_bytes()
    with live_server(tmp_path, log_level="debug", log_format="json") as server:
        text = ask(server, audio, data=PRIVATE, headers={"authorization": "Bearer Hippopotamus"}).json()["text"]
        ask(server, audio, data={"prompt": PRIVATE["prompt"] + "\x07"})
        ask(server, audio, data={"response_format": "verbose_json", "vad": "false"})
        ask(server, b"Rhinoceros" * 500)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(30)
    log = (tmp_path / "server.log").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    asked = [line for line in lines if line.get("path") == PATH]
    assert [(line["status"], line["code"]) for line in asked] == [
        (200, None),
        (400, "invalid_option"),
        (200, None),
        (415, "unsupported_audio"),
    ]
    first = asked[0]
    assert first["audio_hash"] == hashlib.sha256(audio).hexdigest()
    assert first["file_size_bytes"] == len(audio)
    assert first["rtfx"] > 0
    assert {"request_id", "timestamp", "processing_time_ms", "client_ip", "error_message"} <= first.keys()
    assert any(line["level"] == "debug" for line in lines)
    words = {word.strip(".,!?") for word in text.split()}
    assert len(words) > 3
    names = {*words, "Zanzibar", "marmalade", "Quetzalcoatl", "Hippopotamus", "Xylophone", "Rhinoceros"}
    assert not [name for name in names if f" {name} " in log or (len(name) > 5 and name in log)]
    assert text not in log


@pytest.mark.parametrize("vad", ["true", "false"])
def test_metrics_tell_where_the_time_of_a_run_went(server: LiveServer, vad: str) -> None:
    before = samples(server)
    answer = ask(server, DIGITS.read_bytes(), data={"vad": vad}, headers={"cache-control": "no-cache"})
    assert answer.status_code == 200
    after = samples(server)

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0.0)

    assert grown("auricle_requests_total[ok]") == 1
    assert grown("auricle_transcriptions_total[nano]") == 1
    assert grown("auricle_windows_total") >= 1
    assert grown("auricle_audio_seconds_total") == pytest.approx(answer.json()["usage"]["seconds"], abs=1)
    for stage in ("decode", "features", "queue", "inference", *(["vad"] if vad == "true" else [])):
        assert grown(f"auricle_stage_seconds_total[{stage}]") > 0, stage
    assert grown("auricle_processing_seconds_total") < grown("auricle_request_seconds_sum")
    assert after["auricle_models_loaded"] >= 1
    assert after["auricle_memory_bytes[nano][engine]"] > 20 << 20
    assert after["auricle_requests_in_progress"] == 0
    timing = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", ") if ";dur=" in part)
    assert float(timing["inference"]) > 0
    assert float(timing["total"]) <= float(answer.headers["openai-processing-ms"]) + 1


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """A place to send traces to, and what came."""
    received: list[ExportTraceServiceRequest] = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Take) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}", received
        finally:
            http.shutdown()
            thread.join()


def test_traces_are_sent_where_the_environment_says_at_the_latest_when_the_server_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collector() as (url, received):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "speech")
        with live_server(tmp_path, tracing=True) as server:
            assert ask(server, DIGITS.read_bytes(), data=PRIVATE).status_code == 200
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(30) == 0
        wait_until(lambda: received)
    resources = [resource for request in received for resource in request.resource_spans]
    assert 'string_value: "speech"' in str(resources[0].resource)
    spans = {span.name: span for one in resources for scope in one.scope_spans for span in scope.spans}
    root = spans[f"POST {PATH}"]
    for stage in ("decode", "vad", "features", "queue", "inference"):
        child = spans[stage]
        assert child.parent_span_id == root.span_id
        assert root.start_time_unix_nano <= child.start_time_unix_nano <= child.end_time_unix_nano
        assert child.end_time_unix_nano <= root.end_time_unix_nano
    assert "Zanzibar" not in str(received)
    assert "Quetzalcoatl" not in str(received)
