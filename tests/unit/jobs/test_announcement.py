"""The messages about a job's end."""

import json
from dataclasses import replace
from datetime import UTC, datetime

from auricle.job_types import Job, JobSource, WebhookTarget
from auricle.jobs.announcement import message_body
from auricle.types import Segment, TranscribeOptions, Transcript, Word

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
JOB = Job(
    id="1",
    owner="ann",
    status="succeeded",
    options=TranscribeOptions(),
    source=JobSource(kind="url", url="https://example.com/a.wav"),
    created_at=NOON,
    ended_at=NOON,
    metadata={"team": 1},
    webhook=WebhookTarget(url="https://example.com/hook", secret="whsec_x"),
)
SEGMENT = Segment(id=0, start=0.0, end=1.23456, text=" Hello there.")
HELLO = Transcript(text="Hello there.", segments=(SEGMENT,), language="en", duration=1.5)
FAST = WebhookTarget(url="https://example.com/hook", style="insanely-fast")


def test_the_standard_message_says_what_happened_to_which_job() -> None:
    assert json.loads(message_body(JOB, HELLO)) == {
        "type": "job.succeeded",
        "timestamp": "2026-05-01T12:00:00Z",
        "data": {
            "id": "1",
            "status": "succeeded",
            "model": None,
            "metadata": {"team": 1},
            "created_at": "2026-05-01T12:00:00Z",
            "ended_at": "2026-05-01T12:00:00Z",
            "error": None,
            "result": {"text": "Hello there.", "language": "en", "duration": 1.5},
        },
    }


def test_a_failure_has_its_code_and_no_result() -> None:
    job = replace(JOB, status="failed", error_code="corrupt_audio", error_message="it breaks off")
    data = json.loads(message_body(job, None))["data"]
    assert data["error"] == {"code": "corrupt_audio", "message": "it breaks off"}
    assert data["result"] is None


def test_the_other_style_has_chunks() -> None:
    assert json.loads(message_body(replace(JOB, webhook=FAST), HELLO)) == {
        "output": {"text": "Hello there.", "chunks": [{"timestamp": [0.0, 1.235], "text": " Hello there."}]},
        "status": "completed",
        "task_id": "1",
    }
    words = (Word(word=" Hello", start=0.0, end=0.5, probability=1.0),)
    spoken = replace(HELLO, segments=(replace(SEGMENT, words=words),))
    output = json.loads(message_body(replace(JOB, webhook=FAST), spoken))["output"]
    assert output["chunks"] == [{"timestamp": [0.0, 0.5], "text": " Hello"}]


def test_the_other_style_has_errors_for_failures_and_cancellations() -> None:
    failed = replace(JOB, webhook=FAST, status="failed", error_message="it breaks off")
    assert json.loads(message_body(failed, None)) == {"error": "it breaks off", "status": "error", "task_id": "1"}
    assert json.loads(message_body(replace(JOB, webhook=FAST, status="cancelled"), None))["status"] == "error"


def test_no_message_holds_the_secret() -> None:
    assert b"whsec_x" not in message_body(JOB, HELLO)
