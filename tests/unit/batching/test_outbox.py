import os

import numpy as np

from auricle.batching.outbox import Outbox
from auricle.engines.wire import read_message


def read(outbox: Outbox, count: int) -> list[object]:
    with os.fdopen(outbox.reader, "rb", buffering=0) as pipe:
        return [read_message(pipe) for _ in range(count)]


def test_messages_are_read_in_the_order_in_which_they_were_sent_however_large():
    outbox = Outbox()
    arrays = [np.full(600_000, number, np.float32) for number in range(8)]
    for array in arrays:
        outbox.send(array)
    for found, sent in zip(read(outbox, 8), arrays, strict=True):
        np.testing.assert_array_equal(found, sent)  # pyright: ignore[reportArgumentType]
    outbox.close()
    outbox.join()


def test_the_reader_sees_the_end_when_it_is_closed():
    outbox = Outbox()
    outbox.close()
    outbox.join()
    assert os.read(outbox.reader, 1) == b""
    outbox.close_reader()


def test_what_waits_is_not_written_any_more_when_it_is_closed():
    outbox = Outbox()
    for _ in range(20):
        outbox.send(bytes(1 << 20))
    outbox.close()
    size = 0
    while data := os.read(outbox.reader, 1 << 20):
        size += len(data)
    assert size < 10 << 20
    outbox.close_reader()
    outbox.join()


def test_it_survives_a_process_that_is_gone():
    outbox = Outbox()
    outbox.close_reader()
    outbox.send(bytes(1 << 20))
    outbox.send(bytes(1 << 20))
    outbox.close()
    outbox.join()
