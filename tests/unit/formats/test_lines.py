import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.formats.lines import clean_text, count_lines, display_width, wrap_balanced

TEXT = st.text(alphabet=st.sampled_from("ab c,.é世界。、ｱ\u0301\u200b"), max_size=80).map(clean_text)


def test_lines_are_of_about_equal_width():
    assert wrap_balanced("the quick brown fox jumps over the dog", 30) == ["the quick brown fox", "jumps over the dog"]


def test_a_text_that_fits_stays_one_line():
    assert wrap_balanced("one two three", 13) == ["one two three"]


def test_text_without_spaces_breaks_between_wide_characters():
    lines = wrap_balanced("今日はとてもいい天気ですね", 16)
    assert "".join(lines) == "今日はとてもいい天気ですね"
    assert [display_width(line) for line in lines] == [14, 12]


def test_closing_punctuation_does_not_begin_a_line():
    assert wrap_balanced("今日は、天気", 6) == ["今日", "は、", "天気"]


def test_a_word_wider_than_the_line_is_split():
    assert wrap_balanced("https://example.com", 8) == ["https:/", "/exampl", "e.com"]


def test_a_combining_mark_stays_with_its_letter():
    assert wrap_balanced("e\u0301e\u0301e\u0301", 2) == ["e\u0301e\u0301", "e\u0301"]


@pytest.mark.parametrize("text", ["a\x00b", "a\x07b"])
def test_control_characters_are_left_out(text):
    assert clean_text(text) == "ab"


def test_all_kinds_of_white_space_become_one_space():
    assert clean_text(" a\r\n\tb\u2028c\u00a0 d ") == "a b c d"


@given(text=TEXT, width=st.integers(2, 40))
def test_no_line_is_too_wide_and_no_character_is_lost(text, width):
    lines = wrap_balanced(text, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(display_width(line) <= width for line in lines)
    assert len(lines) == count_lines(text, width)
    assert all(line == line.strip() for line in lines)
