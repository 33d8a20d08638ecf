"""Windows on the host, and how many of them a batch has."""

from typing import Any

import numpy as np
import pytest

from auricle.engines.checkpoint import Shape
from model_shapes import BASE, LARGE, SMALL

ov = pytest.importorskip("openvino")

from auricle.engines.openvino_engine import rows_within  # noqa: E402
from auricle.engines.openvino_tensors import Cross, bits, pool, size_of  # noqa: E402


def window(seed: int, kind: Any) -> Cross:
    made = [ov.Tensor(kind, ov.Shape([1, 2, 5, 4])) for _ in range(4)]
    for number, tensor in enumerate(made):
        bits(tensor)[:] = np.random.default_rng([seed, number]).integers(0, 1000, (1, 2, 5, 4))
    return made


@pytest.mark.parametrize("kind", [ov.Type.f32, ov.Type.bf16])
def test_a_pool_has_all_windows_which_become_views_of_it(kind: Any):
    windows = [window(seed, kind) for seed in range(3)]
    before = [[bits(tensor).copy() for tensor in one] for one in windows]
    size = size_of(windows[0])
    joined = pool(windows)
    for part, whole in enumerate(joined):
        assert list(whole.shape) == [3, 2, 5, 4]
        for row, one in enumerate(windows):
            np.testing.assert_array_equal(bits(whole)[row], before[row][part][0])
            np.testing.assert_array_equal(bits(one[part]), before[row][part])
            bits(whole)[row] = 7
            assert (bits(one[part]) == 7).all()
    assert size_of(windows[2]) == size


def test_a_window_of_one_pool_can_go_into_another():
    windows = [window(seed, ov.Type.f32) for seed in range(3)]
    expected = bits(windows[2][1]).copy()
    pool(windows)
    other = pool([window(9, ov.Type.f32), windows[2]])
    np.testing.assert_array_equal(bits(other[1])[1:], expected)
    np.testing.assert_array_equal(bits(windows[2][1]), expected)


@pytest.mark.parametrize(
    ("shape", "itemsize", "rows"),
    [(BASE, 2, 8), (BASE, 4, 4), (SMALL, 2, 8), (SMALL, 4, 4), (LARGE, 2, 2), (LARGE, 4, 2)],
)
def test_windows_of_large_models_make_small_batches(shape: Shape, itemsize: int, rows: int):
    assert rows_within(shape, itemsize) == rows
