"""Which rows join, without an engine."""

from collections import Counter
from concurrent.futures import Future

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from auricle.batching.entry import Entry
from auricle.batching.queue import Queue
from auricle.batching.slot_order import Room
from auricle.types import Answer, DecodingOptions, Priority, RequestInfo, Row

FEATURES = np.zeros((80, 10), np.float32)


def entry(
    request_id: str = "r",
    *,
    slots: int = 1,
    caller: str = "c",
    priority: Priority = Priority.INTERACTIVE,
    remaining_s: float = 100.0,
    at: float = 0.0,
) -> Entry:
    return Entry(
        row=Row(key=request_id, features=FEATURES, prompt=(), options=DecodingOptions()),
        request=RequestInfo(request_id=request_id, caller=caller, priority=priority),
        remaining_s=remaining_s,
        enqueued_at=at,
        key=(),
        future=Future[Answer](),
        slots=slots,
    )


def room(free: int, slots: int = 8, **changes: object) -> Room:
    values: dict[str, object] = {"is_empty": free >= slots, "held": {}} | changes
    return Room(slots=slots, free=free, **values)  # pyright: ignore[reportArgumentType]


def queue_of(*entries: Entry) -> Queue:
    queue = Queue()
    for item in entries:
        queue.push(item)
    return queue


def fill(queue: Queue, room: Room) -> list[str]:
    return [item.request.request_id for item in queue.fill(0.0, room)]


def test_free_slots_are_filled_in_order():
    queue = queue_of(entry("b", remaining_s=2), entry("a", remaining_s=1), entry("c", remaining_s=3))
    assert fill(queue, room(2)) == ["a", "b"]
    assert fill(queue, room(1)) == ["c"]
    assert fill(queue, room(1)) == []


def test_nothing_joins_where_no_slot_is_free():
    assert fill(queue_of(entry()), room(0)) == []
    assert fill(queue_of(entry()), room(-1)) == []


def test_rows_with_beams_take_as_many_slots():
    assert fill(queue_of(*(entry(f"r{n}", slots=3) for n in range(4))), room(8)) == ["r0", "r1"]


def test_a_row_that_is_larger_than_the_engine_joins_it_when_it_is_empty():
    assert fill(queue_of(entry("large", slots=9)), room(7)) == []
    assert fill(queue_of(entry("large", slots=9), entry("small")), room(8)) == ["large"]


def test_a_row_that_does_not_fit_is_passed_by_smaller_ones_until_they_have_filled_all_slots_once():
    queue = queue_of(entry("large", slots=5, remaining_s=1), *(entry(f"r{n}", remaining_s=2) for n in range(20)))
    joined = [fill(queue, room(1)) for _ in range(10)]
    assert [len(names) for names in joined] == [1] * 8 + [0] * 2
    assert fill(queue, room(4)) == []
    assert fill(queue, room(6))[0] == "large"


def test_a_more_urgent_row_goes_before_one_that_was_passed():
    queue = queue_of(entry("large", slots=5), *(entry(f"r{n}", at=1.0) for n in range(20)))
    for _ in range(10):
        fill(queue, room(1))
    queue.push(entry("urgent", priority=Priority.REALTIME))
    assert fill(queue, room(1)) == ["urgent"]


def test_a_request_holds_at_most_half_of_the_slots_while_others_wait():
    queue = queue_of(*(entry("long", remaining_s=1) for _ in range(20)), *(entry("other") for _ in range(20)))
    assert Counter(fill(queue, room(8))) == {"long": 4, "other": 4}
    assert fill(queue, room(1, held={"long": 4, "other": 3})) == ["other"]
    assert fill(queue, room(1, held={"long": 3, "other": 4})) == ["long"]


def test_a_request_that_is_alone_gets_all_slots():
    assert len(fill(queue_of(*(entry("long") for _ in range(20))), room(8))) == 8


def test_on_a_cpu_no_long_row_joins_beside_one_that_somebody_waits_for():
    queue = queue_of(entry("long"), entry("clip", remaining_s=5, at=5.0))
    assert fill(queue, room(4, spares_prompts=True, has_prompt=True)) == ["clip"]
    assert fill(queue, room(4, spares_prompts=True, has_prompt=True)) == []
    assert fill(queue, room(4, spares_prompts=True)) == ["long"]
    assert fill(queue_of(entry("long")), room(4, has_prompt=True)) == ["long"], "elsewhere it costs nothing"


def test_long_rows_join_in_the_end_although_clips_come_without_end():
    queue = queue_of(entry("long"))
    order: list[str] = []
    while "long" not in order:
        queue.push(entry("clip", remaining_s=5, at=10.0))
        order += fill(queue, room(1, spares_prompts=True, has_prompt=True))
        assert len(order) <= 9


sizes = st.lists(
    st.tuples(st.integers(1, 5), st.integers(0, 3), st.integers(0, 2), st.floats(0, 1000)), min_size=1, max_size=40
)


@given(sizes, st.integers(5, 16))
def test_every_row_joins_once_and_the_slots_suffice(rows: list[tuple[int, int, int, float]], slots: int):
    waiting = [
        entry(f"r{request}", slots=size, caller=f"c{request % 2}", priority=Priority(priority), remaining_s=left)
        for size, request, priority, left in rows
    ]
    queue = queue_of(*waiting)
    inside: list[Entry] = []
    joined: list[Entry] = []
    while queue:
        used = sum(item.slots for item in inside)
        held = Counter(item.request.request_id for item in inside for _ in range(item.slots))
        new = queue.fill(0.0, Room(slots=slots, free=slots - used, is_empty=not inside, held=held))
        assert inside or new, "something gets on"
        inside += new
        joined += new
        assert sum(item.slots for item in inside) <= slots
        inside = inside[1:]
    assert sorted(map(id, joined)) == sorted(map(id, waiting))
