from collections import Counter
from concurrent.futures import Future

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.batching.entry import PROMOTE_ALL_S, PROMOTE_BATCH_S, Entry
from auricle.batching.queue import Queue
from auricle.errors import DeadlineExceeded
from auricle.types import Answer, DecodingOptions, Priority, RequestInfo, Row

FEATURES = np.zeros((80, 10), np.float32)


def entry(
    request_id: str = "r",
    *,
    caller: str = "c",
    priority: Priority = Priority.INTERACTIVE,
    remaining_s: float = 10.0,
    audio_s: float | None = None,
    at: float = 0.0,
    key: str = "k",
    deadline: float | None = None,
    is_encoded: bool = False,
) -> Entry:
    return Entry(
        row=Row(key=request_id, features=FEATURES, prompt=(), options=DecodingOptions()),
        request=RequestInfo(
            request_id=request_id, caller=caller, priority=priority, deadline=deadline, audio_s=audio_s
        ),
        remaining_s=remaining_s,
        enqueued_at=at,
        key=key,
        future=Future[Answer](),
        is_encoded=is_encoded,
    )


def queue_of(*entries: Entry) -> Queue:
    queue = Queue()
    for item in entries:
        queue.push(item)
    return queue


def requests(entries: list[Entry]) -> list[str]:
    return [item.request.request_id for item in entries]


def take_all(queue: Queue, max_rows: int, now: float = 0.0, max_long_rows: int | None = None) -> list[list[Entry]]:
    batches: list[list[Entry]] = []
    while batch := queue.take(now, max_rows, max_long_rows=max_long_rows):
        batches.append(batch)
    return batches


def test_an_empty_queue_gives_no_batch():
    assert Queue().take(0.0, 8) == []


def test_the_more_urgent_class_goes_first():
    queue = queue_of(
        entry("batch", priority=Priority.BATCH, remaining_s=1),
        entry("interactive", remaining_s=100),
        entry("realtime", priority=Priority.REALTIME, remaining_s=1000),
    )
    assert requests(queue.take(0.0, 3)) == ["realtime", "interactive", "batch"]


def test_the_request_with_the_least_audio_left_goes_first():
    queue = queue_of(entry("hour", remaining_s=3600), entry("clip", remaining_s=3), entry("minute", remaining_s=60))
    assert requests(queue.take(0.0, 2)) == ["clip", "minute"]


def test_rows_of_a_request_keep_their_order_when_nothing_tells_them_apart():
    entries = [entry("r") for _ in range(6)]
    assert queue_of(*entries).take(0.0, 6) == entries


def test_a_long_request_that_waited_goes_before_a_short_one_that_just_came():
    queue = queue_of(entry("hour", remaining_s=3600, at=0.0), entry("clip", remaining_s=3, at=130.0))
    assert requests(queue.take(130.0, 1)) == ["hour"]


def test_an_old_batch_entry_counts_as_interactive_and_in_the_end_as_realtime():
    def first(now: float, rival: Priority) -> str:
        old = entry("old", priority=Priority.BATCH, remaining_s=1.0)
        return requests(queue_of(old, entry("new", priority=rival, at=now)).take(now, 1))[0]

    assert first(PROMOTE_BATCH_S - 1, Priority.INTERACTIVE) == "new"
    assert first(PROMOTE_BATCH_S, Priority.INTERACTIVE) == "old"
    assert first(PROMOTE_BATCH_S, Priority.REALTIME) == "new"
    assert first(PROMOTE_ALL_S, Priority.REALTIME) == "old"


def test_a_caller_with_one_request_gets_half_of_the_rows_beside_one_with_twenty():
    queue = queue_of(*(entry(f"big{n}", caller="big", remaining_s=1) for n in range(20)))
    for _ in range(8):
        queue.push(entry("small", caller="small", remaining_s=1000))
    served = Counter(item.request.caller for _ in range(4) for item in queue.take(0.0, 4))
    assert served["small"] == 8


def test_a_caller_that_was_idle_has_saved_up_nothing():
    queue = queue_of(*(entry(f"a{n}", caller="a") for n in range(90)))
    queue.take(0.0, 40)
    for number in range(50):
        queue.push(entry(f"b{number}", caller="b"))
    served = Counter(item.request.caller for item in queue.take(0.0, 20))
    assert abs(served["a"] - served["b"]) <= 1


def test_all_rows_of_a_batch_share_the_key_of_the_first():
    queue = queue_of(
        entry("x1", key="x", remaining_s=1),
        entry("y", key="y", remaining_s=2),
        entry("x2", key="x", remaining_s=3),
    )
    assert [requests(batch) for batch in take_all(queue, 8)] == [["x1", "x2"], ["y"]]


def test_a_request_gets_at_most_half_of_the_rows_while_others_wait():
    queue = queue_of(*(entry("long", remaining_s=1) for _ in range(16)))
    for number in range(4):
        queue.push(entry(f"other{number}", remaining_s=100))
    assert Counter(requests(queue.take(0.0, 8)))["long"] == 4


def test_a_request_fills_the_batch_when_those_that_wait_cannot_share_it():
    queue = queue_of(*(entry("long", remaining_s=1) for _ in range(16)), entry("other", key="else", remaining_s=2))
    assert requests(queue.take(0.0, 8)) == ["long"] * 8


def test_a_request_fills_what_the_others_leave():
    queue = queue_of(*(entry("long", remaining_s=1) for _ in range(16)), entry("other", remaining_s=2))
    assert Counter(requests(queue.take(0.0, 8))) == {"long": 7, "other": 1}


def test_where_rows_cost_their_own_time_a_short_request_is_not_slowed_by_long_ones():
    queue = queue_of(
        entry("clip1", remaining_s=5),
        *(entry("long", remaining_s=900) for _ in range(4)),
        entry("clip2", remaining_s=20),
        entry("clip3", remaining_s=3, priority=Priority.BATCH),
    )
    assert requests(queue.take(0.0, 4, max_long_rows=4)) == ["clip1", "clip2"]
    assert requests(queue.take(0.0, 4, max_long_rows=1)) == ["long"], "and a long one's batch is bounded"


def test_where_rows_share_their_cost_short_and_long_go_together():
    queue = queue_of(entry("clip", remaining_s=5), *(entry("long", remaining_s=900) for _ in range(4)))
    assert requests(queue.take(0.0, 4)) == ["clip", "long", "long", "long"]


def test_a_realtime_row_goes_alone_whatever_its_request_has_left():
    queue = queue_of(
        entry("live", priority=Priority.REALTIME, remaining_s=3600), *(entry("long", remaining_s=900) for _ in range(4))
    )
    assert requests(queue.take(0.0, 4, max_long_rows=4)) == ["live"]


def test_the_urgency_of_the_queue_is_that_of_its_most_urgent_entry():
    assert Queue().urgency(0.0) is None
    assert queue_of(entry(priority=Priority.BATCH)).urgency(0.0) == 2
    assert queue_of(entry(priority=Priority.BATCH)).urgency(PROMOTE_BATCH_S) == 1
    assert queue_of(entry(priority=Priority.BATCH), entry(priority=Priority.REALTIME)).urgency(0.0) == 0


def test_only_full_takes_nothing_until_a_batch_is_full():
    queue = queue_of(*(entry() for _ in range(3)))
    assert queue.take(0.0, 4, only_full=True) == []
    assert len(queue) == 3
    queue.push(entry())
    assert len(queue.take(0.0, 4, only_full=True)) == 4


def test_only_full_does_not_pass_over_the_first_entry_for_a_fuller_key():
    queue = queue_of(entry("first", key="x", remaining_s=1), *(entry("y", key="y") for _ in range(4)))
    assert queue.take(0.0, 4, only_full=True) == []
    assert len(queue) == 5


def test_a_cancelled_entry_is_dropped_when_taking():
    cancelled, other = entry("cancelled"), entry("other")
    queue = queue_of(cancelled, other)
    assert isinstance(cancelled.future, Future)
    cancelled.future.cancel()
    assert requests(queue.take(0.0, 8)) == ["other"]
    assert len(queue) == 0


def test_an_expired_entry_gets_deadline_exceeded():
    expired, other = entry("expired", deadline=5.0), entry("other", deadline=15.0)
    assert requests(queue_of(expired, other).take(10.0, 8)) == ["other"]
    with pytest.raises(DeadlineExceeded):
        raise expired.future.exception() or AssertionError("no error was set")


def test_a_discarded_entry_is_gone_and_may_be_discarded_again():
    gone, other = entry("gone"), entry("other")
    queue = queue_of(gone, other)
    queue.discard(gone)
    queue.discard(gone)
    assert requests(queue.take(0.0, 8)) == ["other"]


def test_clear_gives_all_entries_back():
    entries = [entry() for _ in range(5)]
    queue = queue_of(*entries)
    assert queue.clear() == entries
    assert len(queue) == 0
    assert queue.take(0.0, 1, only_full=True) == []


def test_callers_that_left_are_forgotten():
    queue = queue_of(*(entry(caller="always", remaining_s=1) for _ in range(20)))
    for number in range(1000):
        queue.push(entry(caller=f"caller{number}"))
        queue.take(0.0, 2)
        queue.push(entry(caller="always"))
    assert len(queue._served) < 150


entries_strategy = st.lists(
    st.builds(
        entry,
        st.sampled_from("abcdef"),
        caller=st.sampled_from(["one", "two", "three"]),
        priority=st.sampled_from(Priority),
        remaining_s=st.floats(0, 1e5),
        at=st.floats(0, 1000),
        key=st.sampled_from("kl"),
    ),
    max_size=60,
)


@given(
    entries=entries_strategy,
    max_rows=st.integers(1, 12),
    max_long_rows=st.none() | st.integers(1, 12),
    now=st.floats(1000, 2000),
)
@settings(deadline=None)
def test_no_entry_is_lost_or_given_twice(entries: list[Entry], max_rows: int, max_long_rows: int | None, now: float):
    queue = queue_of(*entries)
    batches = take_all(queue, max_rows, now, max_long_rows)
    assert Counter(map(id, entries)) == Counter(id(item) for batch in batches for item in batch)
    assert all(len(batch) <= max_rows and len({item.key for item in batch}) == 1 for batch in batches)
    assert len(queue) == 0


@given(entries=entries_strategy, max_rows=st.integers(1, 12))
@settings(deadline=None)
def test_no_less_urgent_entry_starts_a_batch_while_a_more_urgent_one_waits(entries: list[Entry], max_rows: int):
    fresh = [
        entry(item.request.request_id, caller=item.request.caller, priority=item.request.priority) for item in entries
    ]
    queue = queue_of(*fresh)
    waiting = set(fresh)
    while batch := queue.take(0.0, max_rows):
        assert batch[0].request.priority == min(item.request.priority for item in waiting)
        waiting -= set(batch)


@given(weights=st.lists(st.integers(30, 60), min_size=2, max_size=5), max_rows=st.integers(1, 9))
@settings(deadline=None)
def test_callers_that_all_wait_are_served_alike(weights: list[int], max_rows: int):
    """Whatever they have queued: the shares differ by the rows of one batch at most."""
    queue = queue_of(*(entry(f"r{c}-{n}", caller=str(c)) for c, count in enumerate(weights) for n in range(count)))
    served = Counter[str]()
    while sum(served.values()) + max_rows <= 30:
        served.update(item.request.caller for item in queue.take(0.0, max_rows))
        shares = [served[str(c)] for c in range(len(weights))]
        assert max(shares) - min(shares) <= 1


def test_nothing_starves_behind_a_stream_of_urgent_short_work():
    """A batch-class hour against a newly queued realtime clip of the same caller each second, one row a second."""
    queue = queue_of(entry("hour", priority=Priority.BATCH, remaining_s=3600))
    for now in range(1000):
        queue.push(entry("clip", priority=Priority.REALTIME, remaining_s=3, at=float(now)))
        if requests(queue.take(float(now), 1)) == ["hour"]:
            return
    pytest.fail("the hour never got its turn")


RUNNING_LONG = [entry("file", remaining_s=600.0)]
RUNNING_SHORT = [entry("clip", remaining_s=5.0)]


@pytest.mark.parametrize(
    ("running", "comes", "goes_first"),
    [
        (RUNNING_LONG, entry("clip", remaining_s=5.0), True),
        (RUNNING_LONG, entry("file 2", remaining_s=600.0), False),
        (RUNNING_LONG, entry("last window of a file", remaining_s=5.0, audio_s=600.0), False),
        (RUNNING_LONG, entry("file of another", caller="d", remaining_s=600.0), True),
        ([*RUNNING_LONG, entry("x", caller="e")], entry("file of a third", caller="d", remaining_s=600.0), False),
        (RUNNING_SHORT, entry("clip 2", remaining_s=5.0), False),
        (RUNNING_SHORT, entry("clip of another", caller="d", remaining_s=5.0), True),
        (RUNNING_SHORT, entry("speaker", priority=Priority.REALTIME), True),
        (RUNNING_LONG, entry("archive", caller="d", priority=Priority.BATCH, remaining_s=5.0), False),
    ],
    ids=lambda value: value.request.request_id if isinstance(value, Entry) else "",
)
def test_a_batch_gives_way_to_what_is_urgent_or_short_or_of_another_caller(
    running: list[Entry], comes: Entry, goes_first: bool
):
    queue = queue_of(comes)
    assert queue.take(0.0, 4, running=running) == ([comes] if goes_first else [])
    assert len(queue) == (0 if goes_first else 1)


def test_only_those_go_first_that_should_and_the_others_wait():
    queue = queue_of(entry("file", remaining_s=600.0), entry("clip", remaining_s=5.0))
    assert requests(queue.take(0.0, 4, running=RUNNING_LONG)) == ["clip"]
    assert requests(queue.take(0.0, 4)) == ["file"]


def test_a_window_that_was_just_encoded_goes_before_those_of_others_that_were_not():
    queue = queue_of(
        *(entry(f"new {number}", caller=f"caller {number}") for number in range(3)),
        entry("encoded", caller="x", at=1.0, is_encoded=True),
        entry("urgent", caller="y", priority=Priority.REALTIME),
    )
    assert [requests(batch) for batch in take_all(queue, 1)][:2] == [["urgent"], ["encoded"]]
