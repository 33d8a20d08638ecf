import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from auricle.pipeline.segments import split_tokens
from auricle.tokenizer import Tokenizer
from auricle.types import Span, Window
from auricle.units import SAMPLE_RATE, seconds_to_samples

EMPTY = np.zeros(0, np.float32)


def window(seconds: float, *speech: tuple[float, float]) -> Window:
    length = seconds_to_samples(seconds)
    spans = tuple(Span(start=seconds_to_samples(a), end=seconds_to_samples(b)) for a, b in speech)
    return Window(
        clip_index=0,
        pieces=(Span(start=0, end=length),),
        speech=spans or (Span(start=0, end=length),),
        samples=np.zeros(length, np.float32),
        before=EMPTY,
        after=EMPTY,
    )


def tokens(tokenizer: Tokenizer, *parts: float | str) -> list[int]:
    """Floats become timestamp tokens, strings text."""
    out: list[int] = []
    for part in parts:
        if isinstance(part, str):
            out += tokenizer.encode(part)
        else:
            out.append(tokenizer.timestamp_begin + round(part / 0.02))
    return out


def seconds(samples: int) -> float:
    return samples / SAMPLE_RATE


def test_pairs_of_timestamps_part_segments(tokenizer: Tokenizer):
    given_tokens = tokens(tokenizer, 0.5, " One.", 2.4, 3.3, " Two.", 4.9)
    split = split_tokens(given_tokens, window(6), tokenizer, packed=False)
    found = [(seconds(p.start), seconds(p.end), tokenizer.decode(p.tokens)) for p in split.pieces]
    assert found == [(0.5, 2.4, " One."), (3.3, 4.9, " Two.")]
    assert [p.text_offset for p in split.pieces] == [0, len(tokenizer.encode(" One."))]
    assert seconds(split.advance) == 6


def test_a_pair_at_the_end_says_where_the_next_window_begins(tokenizer: Tokenizer):
    given_tokens = tokens(tokenizer, 0.0, " One.", 2.0, 2.0, " Two.", 25.0, 25.0)
    split = split_tokens(given_tokens, window(30), tokenizer, packed=False)
    assert len(split.pieces) == 2
    assert seconds(split.advance) == 25.0


def test_text_without_timestamps_spans_the_window(tokenizer: Tokenizer):
    split = split_tokens(tokens(tokenizer, " Hello."), window(3), tokenizer, packed=True)
    assert [(p.start, seconds(p.end)) for p in split.pieces] == [(0, 3.0)]
    assert seconds(split.advance) == 3.0


def test_timestamps_past_the_audio_are_cut_to_it(tokenizer: Tokenizer):
    split = split_tokens(tokens(tokenizer, 0.5, " One.", 9.0), window(3), tokenizer, packed=False)
    assert [(seconds(p.start), seconds(p.end)) for p in split.pieces] == [(0.5, 3.0)]


def test_a_packed_clip_goes_on_where_its_text_ended_before_the_speech_did(tokenizer: Tokenizer):
    given_tokens = tokens(tokenizer, 0.2, " One.", 5.0)
    early = split_tokens(given_tokens, window(20, (0.2, 5.0), (8.0, 19.0)), tokenizer, packed=True)
    assert seconds(early.advance) == 5.0
    complete = split_tokens(given_tokens, window(6, (0.2, 5.5)), tokenizer, packed=True)
    assert seconds(complete.advance) == 6.0


def test_no_tokens_give_no_segments_and_end_the_window(tokenizer: Tokenizer):
    split = split_tokens([], window(4), tokenizer, packed=True)
    assert (split.pieces, seconds(split.advance)) == ((), 4.0)


def test_pieces_without_text_are_left_out_but_keep_the_count_of_tokens(tokenizer: Tokenizer):
    given_tokens = tokens(tokenizer, 0.0, " ", 1.0, 1.0, " Two.", 2.0)
    split = split_tokens(given_tokens, window(4), tokenizer, packed=False)
    assert [tokenizer.decode(p.tokens) for p in split.pieces] == [" Two."]
    assert split.pieces[0].text_offset == len(tokenizer.encode(" "))


@given(st.lists(st.one_of(st.integers(0, 1500), st.just(None)), max_size=40), st.floats(0.05, 30), st.booleans())
def test_any_tokens_give_ordered_bounds_inside_the_window_and_make_progress(tokenizer, stamps, length, packed):
    given_tokens = [50364 + stamp if stamp is not None else 440 for stamp in stamps]
    split = split_tokens(given_tokens, window(length), tokenizer, packed=packed)
    size = seconds_to_samples(length)
    assert 0 < split.advance <= size
    for piece in split.pieces:
        assert 0 <= piece.start < piece.end <= size
