import numpy as np
import pytest

from auricle.engines.checkpoint import Shape, Tensor, default_alignment_heads, find_language_ids

RANDOM = np.random.default_rng(0)


def test_eight_bits_that_are_stored_are_taken_as_they_are():
    stored = RANDOM.integers(-127, 128, (5, 8), np.int8)
    rounded, steps = Tensor(array=stored, factor=np.full(5, 50, np.float32)).to_int8()
    assert rounded is stored
    np.testing.assert_allclose(steps, np.full((5, 1), 0.02))


@pytest.mark.parametrize("rows", [1, 3, 5000])
def test_rounding_is_off_by_half_a_step_of_each_row_at_most(rows: int):
    values = RANDOM.standard_normal((rows, 700), np.float32) * np.logspace(-3, 3, rows, dtype=np.float32)[:, None]
    rounded, steps = Tensor(array=values).to_int8()
    assert np.abs(rounded).max(axis=1).tolist() == [127] * rows
    assert (np.abs(rounded * steps - values) <= steps * 0.501).all()


def test_rounding_leaves_the_values_alone_and_takes_rows_of_zeros():
    values = np.zeros((4, 6), np.float32)
    values[1:] = RANDOM.standard_normal((3, 6), np.float32)
    before = values.copy()
    rounded, steps = Tensor(array=values).to_int8()
    np.testing.assert_array_equal(values, before)
    assert not rounded[0].any()
    assert np.isfinite(steps).all()


def test_sixteen_bit_integers_are_rounded_anew():
    values = RANDOM.standard_normal((3, 40), np.float32)
    stored = np.round(values * 1000).astype(np.int16)
    rounded, steps = Tensor(array=stored, factor=np.full(3, 1000, np.float32)).to_int8()
    np.testing.assert_allclose(rounded * steps, values, atol=0.02)


def test_a_bfloat16_is_the_upper_half_of_a_float32():
    bits = np.array([0x3F80, 0xC000, 0x0000], np.uint16)
    assert Tensor(array=bits, is_bfloat16=True).to_float32().tolist() == [1.0, -2.0, 0.0]


def test_values_that_lie_askew_in_a_file_are_copied():
    raw = np.zeros(9, np.uint8)
    raw[1:] = np.array([1.5, -2.5], np.float32).view(np.uint8)
    askew = np.frombuffer(raw.data, "<f4", 2, 1)
    values = Tensor(array=askew).to_float32()
    assert values.flags.aligned
    assert values.tolist() == [1.5, -2.5]


@pytest.mark.parametrize(
    ("vocabulary", "named", "count"),
    [(51865, (), 99), (51866, (), 100), (51864, (), 0), (51864, (50258, 50259), 0), (51865, (50261, 50260), 2)],
)
def test_languages_go_by_the_vocabulary_unless_the_model_names_them(vocabulary, named, count):
    found = find_language_ids(named, vocabulary)
    assert len(found) == count
    assert list(found) == sorted(found)


def test_a_model_that_names_no_alignment_heads_has_those_of_the_upper_layers():
    shape = Shape(
        n_mels=80,
        d_model=128,
        encoder_layers=4,
        encoder_heads=2,
        decoder_layers=3,
        decoder_heads=2,
        vocabulary=51865,
        text_positions=448,
        audio_positions=1500,
    )
    assert default_alignment_heads(shape) == ((1, 0), (1, 1), (2, 0), (2, 1))
