from dataclasses import replace

import pytest

from auricle.batching.pace import QUIET_S, Pace
from auricle.types import ModelInfo

CPU = ModelInfo(
    name="m",
    engine="e",
    device="cpu",
    compute_type="int8",
    n_mels=80,
    is_multilingual=True,
    can_translate=True,
    max_batch=4,
)


def pace(row_s: float = 0.0, *, short_at: float | None = None, max_batch_s: float = 1.0) -> Pace:
    made = Pace(max_batch_s=max_batch_s)
    if row_s:
        made.add_batch(4, 4 * row_s, is_whole=True)
    if short_at is not None:
        made.note_short(short_at)
    return made


def test_batches_are_full_while_nothing_short_comes():
    assert pace(1.3).max_long_rows(0.0, 4, CPU, must_share=False) == 4


@pytest.mark.parametrize(("row_s", "rows"), [(5.0, 1), (1.3, 1), (0.5, 2), (0.3, 3), (0.1, 4)])
def test_while_short_requests_come_a_batch_holds_what_fits_into_the_time(row_s: float, rows: int):
    assert pace(row_s, short_at=0.0).max_long_rows(1.0, 4, CPU, must_share=False) == rows


def test_a_minute_after_the_last_short_request_batches_are_full_again():
    slow = pace(1.3, short_at=0.0)
    assert slow.max_long_rows(QUIET_S - 1, 4, CPU, must_share=False) == 1
    assert slow.max_long_rows(QUIET_S, 4, CPU, must_share=False) == 4


def test_before_the_first_batch_nothing_is_known_and_nothing_limited():
    assert pace(short_at=0.0).max_long_rows(1.0, 4, CPU, must_share=False) == 4


def test_language_detection_says_nothing_about_the_cost_of_a_row():
    fresh = pace(short_at=0.0)
    fresh.add_batch(1, 9.0, is_whole=False)
    assert fresh.max_long_rows(1.0, 4, CPU, must_share=False) == 4
    assert fresh.batch_s == 9.0


def test_the_cost_follows_the_newest_batches():
    learning = pace(1.0, short_at=0.0)
    for _ in range(10):
        learning.add_batch(4, 1.0, is_whole=True)
    assert learning.max_long_rows(1.0, 4, CPU, must_share=False) == 3


def test_rows_on_a_gpu_and_without_the_setting_are_not_limited():
    assert pace(1.3, short_at=0.0).max_long_rows(1.0, 32, replace(CPU, device="cuda"), must_share=False) is None
    assert pace(1.3, short_at=0.0, max_batch_s=0.0).max_long_rows(1.0, 4, CPU, must_share=False) is None


def test_an_engine_that_can_pause_between_its_steps_needs_no_limit_unless_another_one_waits():
    patient = replace(CPU, gives_way="between_steps")
    assert pace(1.3, short_at=0.0).max_long_rows(1.0, 4, patient, must_share=False) == 4
    assert pace(1.3, short_at=0.0).max_long_rows(1.0, 4, patient, must_share=True) == 1
