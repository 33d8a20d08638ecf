import pytest

from auricle.batching.metrics import Metrics
from auricle.types import Dropped, Timings, Transcript


def test_metrics_are_rendered_in_the_text_format():
    metrics = Metrics()
    metrics.windows.inc(3)
    metrics.requests.labels(status="ok").inc()
    text = metrics.render().decode()
    assert "\nauricle_windows_total 3.0\n" in text
    assert '\nauricle_requests_total{status="ok"} 1.0\n' in text


def test_batch_rows_are_counted_in_powers_of_two():
    metrics = Metrics()
    metrics.batch_rows.observe(8)
    text = metrics.render().decode()
    assert 'auricle_batch_rows_bucket{le="4.0"} 0.0' in text
    assert 'auricle_batch_rows_bucket{le="8.0"} 1.0' in text


def test_the_queues_of_all_schedulers_are_summed_at_the_time_of_reading():
    metrics, first, second = Metrics(), [1, 2], [3]
    metrics.watch_queue(first.__len__)
    length = second.__len__
    metrics.watch_queue(length)
    first.append(4)
    assert metrics.queue_rows() == 4
    assert "auricle_queue_rows 4.0" in metrics.render().decode()
    metrics.forget_queue(length)
    assert "auricle_queue_rows 3.0" in metrics.render().decode()


def test_slots_are_read_when_they_are_asked_for_and_forgotten_in_the_end():
    metrics, used = Metrics(), [3]

    def usage() -> tuple[int, int]:
        return used[0], 8

    metrics.watch_slots(usage)
    used[0] = 5
    text = metrics.render().decode()
    assert "auricle_slots_used 5.0" in text
    assert "auricle_slots 8.0" in text
    metrics.forget_slots(usage)
    assert "auricle_slots 0.0" in metrics.render().decode()


def test_two_instances_share_nothing():
    one, two = Metrics(), Metrics()
    one.windows.inc()
    assert "auricle_windows_total 0.0" in two.render().decode()


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = metrics.registry.get_sample_value(name, labels)
    assert found is not None, name
    return found


def test_a_run_adds_its_audio_its_stages_and_what_it_left_out():
    metrics = Metrics()
    timings = Timings(decode=1, vad=2, features=3, queue=4, inference=5, total=10, audio=60, fallbacks=2)
    silence = (Dropped(start=1, end=2.5, reason="silence"), Dropped(start=5, end=6, reason="silence"))
    run = Transcript(text="", segments=(), language="en", duration=60, dropped=silence, timings=timings)
    metrics.add_transcript("nano", run)
    metrics.add_transcript("nano", run)
    assert value(metrics, "auricle_transcriptions_total", model="nano") == 2
    assert value(metrics, "auricle_audio_seconds_total") == 120
    assert value(metrics, "auricle_processing_seconds_total") == 20
    assert value(metrics, "auricle_rtfx_sum") == 12
    assert value(metrics, "auricle_fallbacks_total") == 4
    assert value(metrics, "auricle_dropped_seconds_total", reason="silence") == 5
    stages = {"decode": 2, "vad": 4, "features": 6, "queue": 8, "inference": 10}
    for stage, seconds in stages.items():
        assert value(metrics, "auricle_stage_seconds_total", stage=stage) == seconds


@pytest.mark.parametrize(
    ("status", "is_rejected", "answered"), [("ok", False, 1), ("queue_full", True, 0), ("engine_failed", False, 0)]
)
def test_a_request_is_answered_refused_or_failed(status: str, is_rejected: bool, answered: int):
    metrics = Metrics()
    metrics.count_request(status, is_rejected=is_rejected, seconds=0.25)
    assert value(metrics, "auricle_requests_total", status=status) == 1
    assert (metrics.registry.get_sample_value("auricle_rejected_total", {"code": status}) or 0) == is_rejected
    assert value(metrics, "auricle_request_seconds_sum") == 0.25 * answered
