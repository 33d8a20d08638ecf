import io

import numpy as np
import pytest

from auricle.engines.wire import Batch, encode_message, read_message, write_message
from auricle.types import DecodingOptions, Row


def row(features: np.ndarray) -> Row:
    return Row(key="k", features=features, prompt=(1, 2), options=DecodingOptions())


def pipe(*messages: object) -> io.FileIO:
    import os

    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb", buffering=0) as writer:
        for message in messages:
            write_message(writer, message)
    return os.fdopen(read_end, "rb", buffering=0)


def test_messages_come_out_as_they_went_in():
    features = np.arange(800, dtype=np.float32).reshape(80, 10)
    with pipe(Batch(id=7, rows=(row(features), row(features[:, ::2]))), "next") as reader:
        batch = read_message(reader)
        assert isinstance(batch, Batch)
        assert batch.id == 7
        assert batch.rows[0].prompt == (1, 2)
        np.testing.assert_array_equal(batch.rows[0].features, features)
        np.testing.assert_array_equal(batch.rows[1].features, features[:, ::2])
        assert read_message(reader) == "next"


def test_arrays_are_not_copied_when_a_message_is_encoded():
    features = np.zeros((80, 3000), np.float32)
    pieces = encode_message(Batch(id=1, rows=(row(features),)))
    assert np.shares_memory(np.frombuffer(pieces[1], np.float32), features)


def test_the_end_of_the_pipe_is_an_eof_error_between_and_inside_messages():
    with pipe() as reader, pytest.raises(EOFError):
        read_message(reader)
    with pipe() as reader:
        whole = b"".join(bytes(piece) for piece in encode_message("a message"))
        with pytest.raises(EOFError):
            read_message(_Half(whole[:-3]))


class _Half(io.RawIOBase):
    def __init__(self, data: bytes) -> None:
        self._rest = io.BytesIO(data)

    def readinto(self, buffer: memoryview, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._rest.readinto(buffer)
