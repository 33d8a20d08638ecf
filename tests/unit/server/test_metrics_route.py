"""``/metrics`` and ``/status``: what is counted, and in which form it is told."""

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from scripted_runtime import (
    AUDIO,
    HELLO,
    TRANSCRIPTIONS,
    ScriptedModels,
    ScriptedTranscriber,
    calling,
    scripted_app,
    serving,
    transcript,
)

from auricle.errors import CorruptAudio, EngineFailed, MemoryPressure
from auricle.server.metrics import ServerState
from auricle.types import ModelInfo


def values(text: str) -> dict[str, float]:
    """Name and label values, these in the order of the labels' names -> value; without buckets of histograms."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        sample.name + "".join(f"[{value}]" for _, value in sorted(sample.labels.items())): sample.value
        for sample in samples
        if not sample.name.endswith(("_bucket", "_created"))
    }


async def counted(folder: Path, steps: list, data: dict | None = None, **more) -> dict[str, float]:
    async with calling(scripted_app(folder, ScriptedTranscriber(steps))) as client:
        await client.post(TRANSCRIPTIONS, **({"files": AUDIO, "data": data or {}} | more))
        return values((await client.get("/metrics")).text)


async def test_an_answered_request_is_counted_once(tmp_path: Path) -> None:
    found = await counted(tmp_path, [transcript(HELLO)])
    assert found["auricle_requests_total[ok]"] == 1
    assert found["auricle_request_seconds_count"] == 1
    assert found[f"auricle_http_requests_total[{TRANSCRIPTIONS}][200]"] == 1
    assert not any(name.startswith("auricle_rejected_total") for name in found)


@pytest.mark.parametrize(
    ("steps", "more", "code", "is_rejected"),
    [
        ([], {"data": {"temperature": "hot"}}, "invalid_option", True),
        ([], {"files": {}, "content": b"x"}, "invalid_input", True),
        ([CorruptAudio("breaks off")], {}, "corrupt_audio", True),
        ([MemoryPressure("short of memory")], {}, "memory_pressure", True),
        ([EngineFailed("died twice")], {}, "engine_failed", False),
        ([RuntimeError("defect")], {}, "internal_error", False),
        ([HELLO, EngineFailed("died twice")], {"data": {"stream": "true"}}, "engine_failed", False),
    ],
)
async def test_a_request_without_a_transcript_is_counted_by_its_error(
    tmp_path: Path, steps: list, more: dict, code: str, is_rejected: bool
) -> None:
    found = await counted(tmp_path, steps, **more)
    assert {name: value for name, value in found.items() if name.startswith("auricle_requests_total")} == {
        f"auricle_requests_total[{code}]": 1
    }
    assert found.get(f"auricle_rejected_total[{code}]", 0) == is_rejected
    assert found["auricle_request_seconds_count"] == 0


async def test_a_client_that_left_is_neither_answered_nor_rejected(tmp_path: Path) -> None:
    transcriber = ScriptedTranscriber([asyncio.Event()])
    async with serving(scripted_app(tmp_path, transcriber)) as (client, _):
        asking = asyncio.create_task(client.post(TRANSCRIPTIONS, files=AUDIO))
        await transcriber.started.wait()
        assert values((await client.get("/metrics")).text)["auricle_requests_in_progress"] == 1
        asking.cancel()
        while (found := values((await client.get("/metrics")).text))["auricle_requests_in_progress"]:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert found["auricle_requests_total[cancelled]"] == 1
    assert found[f"auricle_http_requests_total[{TRANSCRIPTIONS}][499]"] == 1


async def test_a_full_server_counts_whom_it_turns_away(tmp_path: Path) -> None:
    gate = asyncio.Event()
    transcriber = ScriptedTranscriber([gate, transcript(HELLO)])
    async with serving(scripted_app(tmp_path, transcriber, max_requests=1)) as (client, _):
        first = asyncio.create_task(client.post(TRANSCRIPTIONS, files=AUDIO))
        await transcriber.started.wait()
        await client.post(TRANSCRIPTIONS, files=AUDIO)
        gate.set()
        await first
        found = values((await client.get("/metrics")).text)
        asked = (await client.get("/metrics", headers={"accept": "application/json"})).json()
    assert found["auricle_requests_total[ok]"] == found["auricle_requests_total[queue_full]"] == 1
    assert found["auricle_rejected_total[queue_full]"] == 1
    assert (asked["total_requests"], asked["accepted_requests"], asked["rejected_requests"]) == (2, 1, 1)
    assert asked["avg_processing_time_ms"] == pytest.approx(found["auricle_request_seconds_sum"] * 1000, abs=0.001)


async def test_paths_that_clients_make_up_share_one_label(tmp_path: Path) -> None:
    async with calling(scripted_app(tmp_path)) as client:
        for number in range(20):
            await client.get(f"/nothing/{number}")
            await client.get(f"/v1/models/made-up-{number}")
        await client.get(TRANSCRIPTIONS)
        found = values((await client.get("/metrics")).text)
    assert found["auricle_http_requests_total[other][404]"] == 20
    assert found["auricle_http_requests_total[/v1/models/{model_id:path}][404]"] == 20
    assert not any("made-up" in name for name in found)
    # Asking with the wrong method is not asking for a transcript.
    assert not any(name.startswith("auricle_requests_total") for name in found)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "text/plain"),
        ("*/*", "text/plain"),
        ("text/plain", "text/plain"),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", "text/plain"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/plain"),
        ("application/json;q=0.3, text/plain;q=0.9", "text/plain"),
        ("application/json;q=0", "text/plain"),
        ("application/json;q=much", "text/plain"),
        (",;q=,;;", "text/plain"),
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("text/plain;q=0.3, application/json;q=0.9", "application/json"),
    ],
)
async def test_accept_chooses_the_form(tmp_path: Path, accept: str | None, kind: str) -> None:
    async with calling(scripted_app(tmp_path)) as client:
        client.headers.pop("accept")
        response = await client.get("/metrics", headers={} if accept is None else {"accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(kind)


async def test_the_json_of_a_fresh_server_is_all_zeros(tmp_path: Path) -> None:
    async with calling(scripted_app(tmp_path)) as client:
        response = await client.get("/metrics", headers={"accept": "application/json"})
    assert response.json() == {
        "total_requests": 0,
        "accepted_requests": 0,
        "rejected_requests": 0,
        "avg_processing_time_ms": 0,
    }


INFO = ModelInfo(
    name="nano",
    engine="ct2",
    device="cpu",
    compute_type="int8",
    n_mels=80,
    is_multilingual=True,
    can_translate=True,
    max_batch=4,
)


class LoadedModels(ScriptedModels):
    def __init__(self, *pids: list[int]) -> None:
        super().__init__()
        self.pids = pids

    def loaded(self):
        return [
            SimpleNamespace(name=f"model-{number}", info=INFO, recognizer=SimpleNamespace(pids=pids))
            for number, pids in enumerate(self.pids)
        ]


async def test_loaded_models_and_the_memory_of_their_engines_are_measured(tmp_path: Path) -> None:
    gone = psutil.Popen(["true"])
    gone.wait()
    models = LoadedModels([psutil.Process().pid], [], [gone.pid])
    async with calling(scripted_app(tmp_path, models=models)) as client:
        found = values((await client.get("/metrics")).text)
    assert found["auricle_models_loaded"] == 3
    assert found["auricle_model_loaded[int8][cpu][ct2][model-1]"] == 1
    assert found["auricle_memory_bytes[][server]"] > 10_000_000
    assert found["auricle_memory_bytes[model-0][engine]"] > 10_000_000
    assert "auricle_memory_bytes[model-1][engine]" not in found
    assert "auricle_memory_bytes[model-2][engine]" not in found


async def test_every_metric_that_a_server_tells_is_in_the_reference(tmp_path: Path) -> None:
    reference = (Path(__file__).parents[3] / "docs" / "reference" / "metrics.md").read_text("utf-8")
    async with calling(scripted_app(tmp_path)) as client:
        text = (await client.get("/metrics")).text
    told = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    told = {name for name in told if not name.endswith("_created")}
    assert len(told) > 20
    assert {name for name in told if f"| `{name}` |" not in reference} == set()


def test_gauges_are_described_without_asking_the_models() -> None:
    described = ServerState(models=None, admission=None).describe()  # pyright: ignore[reportArgumentType]
    assert "auricle_requests_in_progress" in [one.name for one in described]


async def test_status_tells_the_queue_and_how_often_models_were_used(tmp_path: Path) -> None:
    app = scripted_app(tmp_path, models=LoadedModels([]))
    async with calling(app) as client:
        metrics = app.state.context.runtime.metrics
        metrics.watch_queue(lambda: 3)
        for model in ("nano", "nano", "base"):
            metrics.add_transcript(model, replace(transcript(HELLO)))
        response = await client.get("/status")
    assert response.json() == {
        "queue_size": 3,
        "model_usage": {"nano": 2, "base": 1},
        "requests_in_progress": 0,
        "queued_audio_seconds": 0,
        "models_loaded": ["model-0"],
    }
