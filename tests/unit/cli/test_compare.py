import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.cli.compare import count_word_errors


@pytest.mark.parametrize(
    ("reference", "text", "wrong"),
    [
        ("One, two, three.", "one two three", 0),
        ("one two three", "one three", 1),
        ("one two three", "one two two three", 1),
        ("one two three", "one too three", 1),
        ("one two", "", 2),
    ],
)
def test_word_errors_are_counted_without_case_and_punctuation(reference: str, text: str, wrong: int):
    assert count_word_errors(reference, text) == (wrong, len(reference.split()))


TEXTS = st.lists(st.sampled_from("abc"), min_size=1, max_size=8).map(" ".join)


@given(TEXTS, TEXTS)
def test_word_errors_equal_those_of_the_standard_tool(reference: str, text: str):
    wrong, words = count_word_errors(reference, text)
    assert wrong / words == pytest.approx(jiwer.wer(reference, text))
