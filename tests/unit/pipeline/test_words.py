from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from auricle.pipeline.words import group_words, place_words
from auricle.tokenizer import Tokenizer
from auricle.types import Span, Window, Word
from auricle.units import SAMPLE_RATE

EMPTY = np.zeros(0, np.float32)


def window(pieces: list[tuple[float, float]], speech: list[tuple[float, float]]) -> Window:
    def spans(pairs: list[tuple[float, float]]) -> tuple[Span, ...]:
        return tuple(Span(start=int(a * SAMPLE_RATE), end=int(b * SAMPLE_RATE)) for a, b in pairs)

    length = sum(piece.length for piece in spans(pieces))
    return Window(
        clip_index=0,
        pieces=spans(pieces),
        speech=spans(speech),
        samples=np.zeros(length, np.float32),
        before=EMPTY,
        after=EMPTY,
    )


def word(text: str, start: float, end: float) -> Word:
    return Word(word=text, start=start, end=end, probability=1.0)


def times(words: list[Word]) -> list[tuple[float, float]]:
    return [(round(w.start, 2), round(w.end, 2)) for w in words]


def test_punctuation_joins_its_word_and_takes_no_time_of_its_own(tokenizer: Tokenizer):
    tokens = tokenizer.encode(' "Yes," she said.')
    spans = [(i * 0.1, (i + 1) * 0.1) for i in range(len(tokens))]
    words = group_words(tokens, spans, [0.9] * len(tokens), tokenizer, "en")
    assert [w.word for w in words] == [' "Yes,"', " she", " said."]
    assert "".join(w.word for w in words) == tokenizer.decode(tokens)


def test_a_language_without_spaces_has_a_word_per_token_of_whole_characters(tokenizer: Tokenizer):
    tokens = tokenizer.encode("日本語。")
    spans = [(i * 0.1, (i + 1) * 0.1) for i in range(len(tokens))]
    words = group_words(tokens, spans, [0.9] * len(tokens), tokenizer, "ja")
    assert [w.word for w in words] == ["日本", "語。"]


def test_tokens_that_were_not_aligned_take_the_last_known_time(tokenizer: Tokenizer):
    tokens = tokenizer.encode(" one two three")
    words = group_words(tokens, [(0.0, 0.4)], [0.9], tokenizer, "en")
    assert times(words) == [(0.0, 0.4), (0.4, 0.4), (0.4, 0.4)]


def test_a_word_that_begins_in_silence_is_drawn_to_its_speech():
    placed = place_words(
        [word(" one", 0.0, 1.4), word(" two", 1.4, 1.8)], window([(10, 13)], [(11.0, 12.0)]), 0, 3 * SAMPLE_RATE
    )
    assert times(placed)[0][0] >= 11.0
    assert times(placed)[1] == (11.4, 11.8)


def test_words_behind_a_cut_out_silence_have_their_true_times():
    packed = window([(0, 2), (10, 12)], [(0.5, 1.5), (10.5, 11.5)])
    placed = place_words([word(" one", 0.5, 1.5), word(" two", 2.5, 3.5)], packed, 0, 4 * SAMPLE_RATE)
    assert times(placed) == [(0.5, 1.5), (10.5, 11.5)]


@given(
    st.lists(st.tuples(st.floats(0, 31), st.floats(0, 31)), min_size=1, max_size=20),
    st.integers(0, 20 * SAMPLE_RATE),
    st.integers(1, 10 * SAMPLE_RATE),
)
def test_placed_words_are_ordered_and_inside_their_segment_whatever_the_alignment_says(spans, start, length):
    packed = window([(0, 9), (15, 30), (100, 106)], [(1, 8), (16, 29), (101, 105)])
    end = min(start + length, len(packed.samples))
    placed = place_words([word(" w", min(a, b), max(a, b)) for a, b in spans], packed, start, end)
    low, high = packed.to_file(start) / SAMPLE_RATE, packed.to_file(end, is_end=True) / SAMPLE_RATE
    assert len(placed) == len(spans)
    for placed_word in placed:
        assert low <= placed_word.start <= placed_word.end <= high
    for earlier, later in pairwise(placed):
        assert earlier.end <= later.start
