from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.speaker_types import Turn
from auricle.speakers.assign import FIRST_SPEAKER, assign_speakers
from auricle.types import Segment, TokenLogprob, Word

TIMESTAMP = 1000
TEXTS = {1: b" one", 2: b" two", 3: b" three", 4: b"\xe4\xb8", 5: b"\x96", 6: b",", TIMESTAMP: b""}


def text_of(token: int) -> bytes:
    return TEXTS.get(token, b"")


def spoken(*words: tuple[str, float, float], start: float | None = None, end: float | None = None, **more) -> Segment:
    placed = tuple(Word(word=text, start=first, end=last, probability=0.5) for text, first, last in words)
    return Segment(
        id=7,
        start=words[0][1] if start is None else start,
        end=words[-1][2] if end is None else end,
        text="".join(text for text, _, _ in words),
        words=placed,
        **more,
    )


ANN = Turn(start=0.0, end=1.0, speaker="Ann")
BOB = Turn(start=1.0, end=3.0, speaker="Bob")


def test_a_segment_is_cut_where_the_speaker_changes():
    segment = spoken((" one", 0.1, 0.6), (" two", 1.2, 1.8), (" three", 2.0, 2.5), start=0.0, end=2.6)
    first, second = assign_speakers([segment], [ANN, BOB], text_of)
    assert (first.id, first.speaker, first.text, first.start, first.end) == (0, "Ann", " one", 0.0, 0.6)
    assert (second.id, second.speaker, second.text, second.start, second.end) == (1, "Bob", " two three", 1.2, 2.6)
    assert [word.speaker for word in second.words or ()] == ["Bob", "Bob"]


def test_tokens_and_logprobs_go_with_their_text():
    logprobs = tuple(TokenLogprob(token=str(n), bytes=tuple(text_of(n)), logprob=-n) for n in (1, 2, 3))
    segment = spoken(
        (" one", 0.1, 0.6), (" two", 1.2, 1.8), (" three", 2.0, 2.5),
        tokens=(TIMESTAMP, 1, 2, 3, TIMESTAMP), logprobs=logprobs,
    )  # fmt: skip
    first, second = assign_speakers([segment], [ANN, BOB], text_of)
    assert (first.tokens, second.tokens) == ((TIMESTAMP, 1), (2, 3, TIMESTAMP))
    assert (first.logprobs, second.logprobs) == (logprobs[:1], logprobs[1:])


def test_tokens_that_are_parts_of_characters_stay_together():
    segment = spoken(("世", 0.1, 0.6), (" two", 1.2, 1.8), tokens=(4, 5, 2))
    assert [piece.tokens for piece in assign_speakers([segment], [ANN, BOB], text_of)] == [(4, 5), (2,)]


def test_a_word_goes_to_whoever_speaks_most_of_it():
    (piece,) = assign_speakers([spoken((" one", 0.8, 1.1))], [ANN, BOB], text_of)
    assert piece.speaker == "Ann"
    parts = [
        Turn(start=0, end=0.4, speaker="B"),
        Turn(start=0.4, end=0.7, speaker="A"),
        Turn(start=0.8, end=1, speaker="A"),
    ]
    (piece,) = assign_speakers([spoken((" one", 0.0, 1.0))], parts, text_of)
    assert piece.speaker == "A"


def test_a_word_between_turns_goes_to_the_nearest():
    turns = [Turn(start=0, end=1, speaker="Ann"), Turn(start=5, end=6, speaker="Bob")]
    pieces = assign_speakers([spoken((" one", 1.5, 2.0), (" two", 4.0, 4.2))], turns, text_of)
    assert [piece.speaker for piece in pieces] == ["Ann", "Bob"]
    before, after = assign_speakers([spoken((" one", -1, 0)), spoken((" two", 9, 9.5))], turns, text_of)
    assert (before.speaker, after.speaker) == ("Ann", "Bob")


def test_a_word_of_no_length_goes_to_whoever_speaks_then():
    turns = [Turn(start=0, end=10, speaker="Ann"), Turn(start=10, end=12, speaker="Bob")]
    pieces = assign_speakers([spoken((" one", 9.0, 9.0)), spoken((" two", 11.0, 11.0))], turns, text_of)
    assert [piece.speaker for piece in pieces] == ["Ann", "Bob"]


def test_a_long_turn_under_short_ones_is_not_forgotten():
    turns = [Turn(start=0, end=100, speaker="Ann"), *(Turn(start=n, end=n + 0.1, speaker="Bob") for n in range(1, 50))]
    pieces = assign_speakers([spoken((" one", 60.0, 61.0)), spoken((" two", 30.0, 30.1))], turns, text_of)
    assert pieces[0].speaker == "Ann"


def test_a_segment_without_words_goes_to_one_speaker_by_its_times():
    for words in (None, ()):
        segment = Segment(id=3, start=0.5, end=2.5, text=" one two", words=words)
        (piece,) = assign_speakers([segment], [ANN, BOB], text_of)
        assert (piece.speaker, piece.words, piece.text) == ("Bob", words, " one two")


def test_a_segment_whose_words_do_not_make_up_its_text_stays_whole():
    words = (Word(word=" one", start=0, end=1, probability=1), Word(word=" two", start=1, end=3, probability=1))
    segment = Segment(id=0, start=0, end=3, text=" one and two", words=words)
    (piece,) = assign_speakers([segment], [ANN, BOB], text_of)
    assert (piece.text, piece.speaker) == (" one and two", "Bob")


def test_where_nobody_was_heard_all_is_by_one():
    pieces = assign_speakers([spoken((" one", 0.0, 0.5)), spoken((" two", 5.0, 6.0))], [], text_of)
    assert [piece.speaker for piece in pieces] == [FIRST_SPEAKER, FIRST_SPEAKER]
    assert assign_speakers([], [ANN], text_of) == []


TURNS = st.lists(
    st.builds(
        lambda start, length, speaker: Turn(start=start, end=start + length, speaker=speaker),
        st.floats(0, 40), st.floats(0, 10), st.sampled_from("ABC"),
    ),
    max_size=12,
)  # fmt: skip


@st.composite
def segments(draw: st.DrawFn) -> list[Segment]:
    made: list[Segment] = []
    clock = 0.0
    for number in range(draw(st.integers(0, 4))):
        start = clock
        words: list[Word] = []
        tokens: list[int] = [TIMESTAMP]
        for _ in range(draw(st.integers(1, 8))):
            run = draw(st.lists(st.sampled_from([1, 2, 3, 6]), min_size=1, max_size=3))
            first = clock + draw(st.floats(0, 2))
            clock = first + draw(st.floats(0, 2))
            text = b"".join(text_of(token) for token in run).decode()
            words.append(Word(word=text, start=first, end=clock, probability=0.9))
            tokens += run
        logprobs = tuple(TokenLogprob(token="", bytes=tuple(text_of(t)), logprob=-t) for t in tokens if t != TIMESTAMP)
        made.append(
            Segment(
                id=number,
                start=start,
                end=clock,
                text="".join(word.word for word in words),
                tokens=(*tokens, TIMESTAMP),
                words=tuple(words),
                logprobs=logprobs,
            )
        )
    return made


@given(segments(), TURNS)
def test_nothing_is_lost_or_put_out_of_order(given_segments: list[Segment], turns: list[Turn]):
    pieces = assign_speakers(given_segments, turns, text_of)
    for name in ("tokens", "logprobs"):
        before, after = ([x for one in all_ for x in getattr(one, name)] for all_ in (given_segments, pieces))
        assert after == before
    assert "".join(piece.text for piece in pieces) == "".join(segment.text for segment in given_segments)
    words = [word for piece in pieces for word in piece.words or ()]
    assert [word.word for word in words] == [word.word for segment in given_segments for word in segment.words or ()]
    assert all(word.speaker == piece.speaker for piece in pieces for word in piece.words or ())
    assert [piece.id for piece in pieces] == list(range(len(pieces)))
    edges = [time for piece in pieces for time in (piece.start, piece.end)]
    assert edges == sorted(edges)
    for piece in pieces:
        assert len(b"".join(map(text_of, piece.tokens)).decode()) == len(piece.text)
        assert all(piece.start <= word.start <= word.end <= piece.end for word in piece.words or ())
    whole = [word.speaker for word in words]
    assert len(pieces) <= len(given_segments) + sum(a != b for a, b in pairwise(whole))
    assert {speaker for speaker, _ in groupby(whole)} <= {turn.speaker for turn in turns} | {FIRST_SPEAKER}


@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_every_word_has_the_speaker_of_most_of_its_time(shift: float):
    turns = [Turn(start=shift + n, end=shift + n + 1, speaker="AB"[n % 2]) for n in range(20)]
    words = [(f" w{n}", shift + n * 0.25, shift + n * 0.25 + 0.2) for n in range(80)]
    pieces = assign_speakers([spoken(*words)], turns, text_of)
    assert len(pieces) == 20
    assert [piece.speaker for piece in pieces] == ["AB"[n % 2] for n in range(20)]
