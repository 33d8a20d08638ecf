import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from auricle.engines.rules import (
    NEVER,
    Rules,
    Vocabulary,
    allowed_next,
    best_tokens,
    sample_tokens,
    suppress,
    top_tokens,
)

# Five text tokens, the end, two special tokens, six timestamps.
VOCABULARY = Vocabulary(eot=5, first_timestamp=8, size=14)
EOT = VOCABULARY.eot


def rules_of(**changes) -> Rules:
    return Rules(**({"vocabulary": VOCABULARY, "max_initial": 3} | changes))


def logits_of(**odds: float) -> np.ndarray:
    """One row, shifted as logits are; ``t3`` is text token 3, ``s2`` timestamp 2, ``end`` the end."""
    probabilities = np.full(VOCABULARY.size, 1e-9)
    for name, value in odds.items():
        index = EOT if name == "end" else int(name[1:]) + (VOCABULARY.first_timestamp if name[0] == "s" else 0)
        probabilities[index] = value
    return (np.log(probabilities) + 7).astype(np.float32)[None]


def ranked(tokens: list[int], logits: np.ndarray, rules: Rules | None = None, count: int = 4) -> dict[int, float]:
    """The tokens that may follow with their log-probabilities, best first."""
    rules = rules or rules_of()
    logits = logits.copy()
    suppress(logits, [tokens], rules)
    top = top_tokens(logits[:, : VOCABULARY.first_timestamp], count)
    best = best_tokens(top, allowed_next(logits, top.values[:, 0], [tokens], rules), rules)
    return {
        int(token): float(value) for token, value in zip(best.tokens[0], best.values[0], strict=True) if value > NEVER
    }


def next_tokens(tokens: list[int], logits: np.ndarray, **changes) -> list[int]:
    return list(ranked(tokens, logits, rules_of(**changes)))


def stamp(step: int) -> int:
    return VOCABULARY.first_timestamp + step


def test_the_first_token_is_a_timestamp_that_is_not_too_late():
    first = next_tokens([], logits_of(t0=0.5, s5=0.4, s2=0.1))
    assert first[0] == stamp(2)
    assert all(stamp(0) <= token <= stamp(3) for token in first)


def test_a_timestamp_that_opens_a_segment_is_followed_by_text_or_the_end():
    assert all(token < VOCABULARY.first_timestamp for token in next_tokens([stamp(1)], logits_of(s3=0.9, t1=0.1)))
    assert next_tokens([stamp(0), 1, stamp(2), stamp(2)], logits_of(s4=0.9, t1=0.1))[0] == 1


def test_a_timestamp_that_closes_a_segment_is_followed_by_its_pair_or_the_end():
    after = next_tokens([stamp(0), 1, stamp(3)], logits_of(t1=0.5, s3=0.2, s1=0.2, end=0.1))
    assert after[0] == stamp(3)
    assert set(after) & {0, 1, 2, 3, 4, stamp(0), stamp(1), stamp(2)} == set()
    assert next_tokens([stamp(0), 1, stamp(3)], logits_of(t1=0.5, s3=0.1, end=0.4))[0] == EOT


def test_timestamps_never_go_back_and_a_segment_has_a_length():
    after = next_tokens([stamp(2), 1], logits_of(s1=0.45, s2=0.35, s3=0.2))
    assert after[0] == stamp(3)


def test_timestamps_win_where_they_are_likelier_together_than_any_text():
    assert next_tokens([stamp(0), 1], logits_of(t2=0.4, s1=0.2, s2=0.2, s3=0.2))[0] >= VOCABULARY.first_timestamp
    assert next_tokens([stamp(0), 1], logits_of(t2=0.6, s1=0.2, s2=0.2))[0] == 2


def test_log_probabilities_are_among_the_allowed_tokens():
    found = ranked([], logits_of(t0=0.5, s2=0.3, s1=0.2))
    assert math.exp(found[stamp(2)]) == pytest.approx(0.6, rel=1e-4)
    found = ranked([stamp(0)], logits_of(t0=0.2, t1=0.2, end=0.1, s2=0.5))
    assert math.exp(found[0]) == pytest.approx(0.4, rel=1e-4)


def test_without_timestamps_the_likeliest_token_wins_whatever_it_is():
    assert next_tokens([], logits_of(t4=0.6, s2=0.4), timestamps=False)[0] == 4
    assert next_tokens([1], logits_of(t4=0.4, s2=0.6), timestamps=False)[0] == stamp(2)


def test_suppressed_tokens_never_come_and_some_only_not_first():
    logits = logits_of(t1=0.4, t2=0.3, t3=0.2)
    assert next_tokens([], logits, timestamps=False, suppressed=[1], suppressed_first=[2])[0] == 3
    assert next_tokens([4], logits, timestamps=False, suppressed=[1], suppressed_first=[2])[0] == 2


def test_where_nothing_may_follow_the_text_ends():
    assert ranked([stamp(0)], logits_of(), rules_of(suppressed=range(VOCABULARY.size))) == {EOT: 0.0}


def test_the_repetition_penalty_divides_a_logit_above_zero_and_multiplies_one_below():
    logits = np.full((1, VOCABULARY.size), -20.0, np.float32)
    logits[0, 1], logits[0, 2], logits[0, 3] = 4.0, -1.0, 0.5
    suppress(logits, [[stamp(0), 1, 2, 1]], rules_of(repetition_penalty=2.0))
    assert logits[0, [1, 2, 3, stamp(0), stamp(1)]].tolist() == [2.0, -2.0, 0.5, -40.0, -20.0]


@pytest.mark.parametrize(
    ("size", "tokens", "banned"),
    [
        (3, [1, 2, 3, 4, 1, 2], {3}),
        (3, [1, 2, 3, 1, 2, 4, 1, 2], {3, 4}),
        (3, [1, 2], set()),
        (2, [1, 1], {1}),
        (1, [1, 3, 1], {1, 3}),
    ],
)
def test_an_ngram_does_not_come_twice(size: int, tokens: list[int], banned: set[int]):
    logits = np.zeros((1, VOCABULARY.size), np.float32)
    suppress(logits, [tokens], rules_of(no_repeat_ngram_size=size))
    assert set(np.flatnonzero(np.isneginf(logits[0])).tolist()) == banned


def test_rows_do_not_see_one_another():
    rows = [
        ([], logits_of(s1=0.9, s2=0.1)),
        ([stamp(0)], logits_of(t1=0.6, t2=0.4)),
        ([stamp(0), 1], logits_of(s4=1.0)),
    ]
    together = np.vstack([logits for _, logits in rows])
    texts = [tokens for tokens, _ in rows]
    top = top_tokens(together[:, : VOCABULARY.first_timestamp], 4)
    best = best_tokens(top, allowed_next(together, top.values[:, 0], texts, rules_of()), rules_of())
    for row, (tokens, logits) in enumerate(rows):
        alone = ranked(tokens, logits)
        assert dict(zip(best.tokens[row].tolist(), best.values[row].tolist(), strict=True)) == pytest.approx(
            alone | {token: NEVER for token in best.tokens[row].tolist() if token not in alone}
        )


def test_a_sample_is_allowed_and_follows_the_probabilities():
    logits = np.repeat(logits_of(t1=0.75, t2=0.25), 2000, axis=0)
    texts = [[stamp(0)]] * 2000
    top = top_tokens(logits[:, : VOCABULARY.first_timestamp], 1)
    allowed = allowed_next(logits, top.values[:, 0], texts, rules_of())
    drawn = sample_tokens(
        logits, top, allowed, rules_of(), temperature=1.0, numbers=np.random.default_rng(1).random(2000, np.float32)
    )
    assert set(drawn.tokens[:, 0].tolist()) == {1, 2}
    assert np.mean(drawn.tokens == 1) == pytest.approx(0.75, abs=0.04)
    assert np.exp(drawn.values[drawn.tokens == 2]) == pytest.approx(0.25, rel=1e-4)


def test_a_low_temperature_makes_the_likelier_token_likelier():
    logits = np.repeat(logits_of(s1=0.6, s2=0.4), 2000, axis=0)
    top = top_tokens(logits[:, : VOCABULARY.first_timestamp], 1)
    allowed = allowed_next(logits, top.values[:, 0], [[]] * 2000, rules_of())
    drawn = sample_tokens(
        logits, top, allowed, rules_of(), temperature=0.2, numbers=np.random.default_rng(1).random(2000, np.float32)
    )
    # 0.6 ** 5 against 0.4 ** 5
    assert np.mean(drawn.tokens == stamp(1)) == pytest.approx(0.884, abs=0.03)


@given(hnp.arrays(np.float32, (3, 200), elements=st.floats(-50, 0, width=32)), st.integers(1, 20))
def test_the_ranking_by_blocks_is_the_ranking(logits, count: int):
    top = top_tokens(logits, count)
    assert np.array_equal(top.values, -np.sort(-logits, axis=1)[:, :count])
    assert np.array_equal(np.take_along_axis(logits, top.tokens, 1), top.values)
    assert all(len(set(row.tolist())) == count for row in top.tokens)
