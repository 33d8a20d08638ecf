import numpy as np
import pytest
from scripted_network import ScriptedNetwork

from auricle.engines.window_cache import WindowCache
from auricle.types import DecodingOptions, Row

MB = 2**20


def row_of(number: int) -> Row:
    features = np.full((1, 10), number, np.float32)
    return Row(key=f"{number}", features=features, prompt=(), options=DecodingOptions())


def get(cache: WindowCache[int, int], *numbers: int, with_text: bool = False) -> None:
    for number in numbers:
        assert cache.get(row_of(number)) == number
        if with_text:
            cache.note_texts([row_of(number)])


def test_a_window_is_encoded_and_projected_once():
    encoder = ScriptedNetwork([])
    get(WindowCache(encoder, max_batch=8), 0, 1, 0, 1)
    assert encoder.encoded == encoder.projected == [0, 1]


def test_the_windows_of_two_batches_are_kept_and_more_that_are_encoded():
    encoder = ScriptedNetwork([])
    cache = WindowCache(encoder, max_batch=2)
    get(cache, *range(16), *range(16))
    assert encoder.encoded == [*range(16)]
    assert encoder.projected == [*range(16), *range(16)]
    # The last four are there, then 0 takes the place of 12.
    get(cache, 15, 14, 13, 12, 0, 12, 15)
    assert encoder.projected[32:] == [0, 15]


def test_what_was_used_longest_ago_makes_room():
    encoder = ScriptedNetwork([])
    get(WindowCache(encoder, max_batch=1), *range(16), 0, 16, 0, 1)
    # 16 took the place of 1.
    assert encoder.encoded == [*range(17), 1]


def test_a_large_batch_is_encoded_twice_over():
    encoder = ScriptedNetwork([])
    get(WindowCache(encoder, max_batch=32), *range(64), *range(64))
    assert encoder.encoded == [*range(64)]


def test_windows_whose_text_is_still_to_come_stay_before_those_that_are_done():
    encoder = ScriptedNetwork([])
    cache = WindowCache(encoder, max_batch=1)
    get(cache, 0)
    get(cache, *range(1, 30), with_text=True)
    get(cache, 0)
    assert encoder.encoded == encoder.projected == [*range(30)]


def test_one_that_is_tried_again_comes_back_where_all_others_have_their_text_still_to_come():
    encoder = ScriptedNetwork([])
    cache = WindowCache(encoder, max_batch=1)
    get(cache, 0, with_text=True)
    get(cache, 1, 2)
    get(cache, 0, 0, with_text=True)
    assert encoder.encoded == [0, 1, 2]
    assert encoder.projected == [0, 1, 2, 0]


@pytest.mark.parametrize(("window_bytes", "kept"), [(MB, 8), (60 * MB, 8), (200 * MB, 2)])
def test_a_batch_of_windows_is_kept_unless_it_is_too_large_and_two_always(window_bytes: int, kept: int):
    encoder = ScriptedNetwork([], window_bytes=window_bytes)
    cache = WindowCache(encoder, max_batch=8)
    get(cache, *range(8), *range(8 - kept, 8))
    assert encoder.projected == [*range(8)]
    get(cache, *range(8))
    assert encoder.encoded == [*range(8)]
    assert (len(encoder.projected) > 8) is (kept < 8)


def test_large_windows_that_are_done_go_together():
    encoder = ScriptedNetwork([], window_bytes=60 * MB)
    get(WindowCache(encoder, max_batch=8), 0, 1, 2, 2, 3, 0, 4, 2, 0, with_text=True)
    # Three are kept; what comes after them takes the place of all of them.
    assert encoder.encoded == [0, 1, 2, 3, 4]
    assert encoder.projected == [0, 1, 2, 3, 0, 4, 2, 0]


def test_nothing_is_left_when_it_is_cleared():
    encoder = ScriptedNetwork([])
    cache = WindowCache(encoder, max_batch=8)
    get(cache, 0, 1)
    cache.clear()
    get(cache, 1, 0)
    assert encoder.encoded == encoder.projected == [0, 1, 1, 0]
