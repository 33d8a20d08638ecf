from auricle.batching.metrics import Metrics


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
    assert "auricle_queue_rows 4.0" in metrics.render().decode()
    metrics.forget_queue(length)
    assert "auricle_queue_rows 3.0" in metrics.render().decode()


def test_two_instances_share_nothing():
    one, two = Metrics(), Metrics()
    one.windows.inc()
    assert "auricle_windows_total 0.0" in two.render().decode()
