import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spoken_words import spell

from auricle.formats.cues import make_cues
from auricle.formats.lines import display_width
from auricle.formats.options import SubtitleOptions
from auricle.types import Segment, Word

SPEECH = " Ask not what your country can do for you, ask what you can do for your country."


def segment(text: str = SPEECH, start: float = 0.0, end: float = 8.0, *, timed: bool = True) -> Segment:
    return Segment(id=0, start=start, end=end, text=text, words=spell(text, start, end) if timed else None)


def test_without_rules_a_segment_is_one_cue_of_one_line():
    (cue,) = make_cues([segment()], SubtitleOptions())
    assert (cue.start_ms, cue.end_ms) == (0, 8000)
    assert cue.lines == (SPEECH.strip(),)


def test_cues_are_cut_between_words_at_the_times_of_the_words():
    rules = SubtitleOptions(max_line_width=20, max_lines=2)
    cues = make_cues([segment()], rules)
    starts = {round(word.start * 1000): word.word.strip() for word in spell(SPEECH, 0.0, 8.0)}
    assert len(cues) == 3
    assert all(starts[cue.start_ms] == cue.lines[0].split()[0] for cue in cues)
    assert all(len(cue.lines) <= 2 and max(map(len, cue.lines)) <= 20 for cue in cues)


def test_a_segment_without_word_times_is_cut_in_proportion_to_its_text():
    cues = make_cues([segment("aaaa bbbb cccc dddd", 10.0, 20.0, timed=False)], SubtitleOptions(max_duration_s=5.5))
    assert [cue.lines for cue in cues] == [("aaaa bbbb",), ("cccc dddd",)]
    assert [(cue.start_ms, cue.end_ms) for cue in cues] == [(10000, 14737), (14737, 20000)]


def test_words_that_do_not_make_up_the_text_are_not_trusted():
    partial = Segment(id=0, start=0, end=4, text=" one two", words=(Word(word=" one", start=0, end=1, probability=1),))
    (cue,) = make_cues([partial], SubtitleOptions())
    assert cue.lines == ("one two",)
    assert cue.words == ()


def test_a_space_after_a_word_is_kept():
    words = (Word(word="one ", start=0, end=1, probability=1), Word(word="two", start=1, end=2, probability=1))
    (cue,) = make_cues([Segment(id=0, start=0, end=2, text="one two", words=words)], SubtitleOptions())
    assert cue.lines == ("one two",)


def test_a_short_cue_stays_longer_but_not_into_the_next():
    short = [segment("one", 0.0, 0.2), segment("two", 0.5, 0.7), segment("three", 9.0, 9.1)]
    cues = make_cues(short, SubtitleOptions(min_duration_s=1.0))
    assert [(cue.start_ms, cue.end_ms) for cue in cues] == [(0, 500), (500, 1500), (9000, 10000)]


def test_one_word_longer_than_allowed_leaves_the_screen_earlier():
    (cue,) = make_cues([segment("one", 0.0, 9.0)], SubtitleOptions(max_duration_s=3.0))
    assert cue.end_ms == 3000


def test_a_segment_of_no_length_is_still_shown():
    cues = make_cues([segment("a", 1.0, 1.0, timed=False), segment("b", 1.0, 1.0, timed=False)], SubtitleOptions())
    assert [(cue.start_ms, cue.end_ms) for cue in cues] == [(1000, 1001), (1001, 1002)]


@pytest.mark.parametrize("text", ["", "  ", "\n", "\x00"])
def test_a_segment_without_text_makes_no_cue(text):
    assert make_cues([segment(text, timed=False)], SubtitleOptions()) == []


SEGMENT = st.builds(
    lambda text, start, length, timed: segment(text, start, start + length, timed=timed and bool(text.split())),
    st.text(alphabet=st.sampled_from("ab  c,.世界。\n-<>&"), max_size=60),
    st.floats(0, 100),
    st.floats(0, 30),
    st.booleans(),
)
RULES = st.builds(
    lambda width, lines, low, more: SubtitleOptions(
        max_line_width=width,
        max_lines=lines,
        min_duration_s=low,
        max_duration_s=None if more is None else (low or 0) + more,
    ),
    st.none() | st.integers(2, 30),
    st.none() | st.integers(1, 3),
    st.none() | st.floats(0.001, 5),
    st.none() | st.floats(0.01, 10),
)


@given(segments=st.lists(SEGMENT, max_size=6), rules=RULES)
def test_cues_obey_all_rules_and_lose_no_text(segments, rules):
    cues = make_cues(segments, rules)
    shown = "".join("".join(cue.lines) for cue in cues)
    assert "".join(shown.split()) == "".join("".join(entry.text for entry in segments).split())
    assert all(cue.start_ms < cue.end_ms for cue in cues)
    assert all(first.end_ms <= second.start_ms for first, second in itertools.pairwise(cues))
    if rules.max_line_width is not None:
        assert all(display_width(line) <= rules.max_line_width for cue in cues for line in cue.lines)
        if rules.max_lines is not None:
            assert all(len(cue.lines) <= rules.max_lines for cue in cues)
    if rules.max_duration_s is not None:
        assert all(cue.end_ms - cue.start_ms <= max(1, round(rules.max_duration_s * 1000)) for cue in cues)
