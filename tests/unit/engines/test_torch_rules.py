"""The rules on the device are those of ``rules.py``."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch

from auricle.engines.rules import NEVER, Rules, Vocabulary, allowed_next, suppress, top_tokens
from auricle.engines.special_tokens import SpecialTokens
from auricle.engines.torch_rules import SlotRules, Stand

# Five text tokens, the end, two special tokens, six timestamps.
VOCABULARY = Vocabulary(eot=5, first_timestamp=8, size=14)
EOT = VOCABULARY.eot
PROMPT = (6, 7)
PLACES = 20

texts = st.lists(st.one_of(st.integers(0, 4), st.integers(8, 13)), max_size=PLACES - 4)
rules_of_a_row = st.builds(
    Rules,
    vocabulary=st.just(VOCABULARY),
    suppressed=st.lists(st.integers(0, 13), max_size=14, unique=True),
    suppressed_first=st.just((0, 2)),
    timestamps=st.booleans(),
    max_initial=st.integers(0, 8),
    repetition_penalty=st.sampled_from([1.0, 1.3, 3.0]),
    no_repeat_ngram_size=st.integers(0, 4),
)
rows_of_a_step = st.lists(st.tuples(texts, rules_of_a_row), min_size=1, max_size=5)


def slot_rules(slots: int) -> SlotRules:
    special = SpecialTokens(
        vocabulary=VOCABULARY,
        sot=6,
        no_speech=6,
        no_timestamps=7,
        language_ids=(),
        suppressed=(),
        suppressed_first=(0, 2),
    )
    return SlotRules(special, slots, PLACES, torch.device("cpu"))


def stand(text: list[int], rules: Rules, **more) -> Stand:
    return Stand(prompt=PROMPT, rules=rules, limit=PLACES - len(PROMPT), text=text, **more)


def fill(rows: list[tuple[list[int], Rules]], **more) -> SlotRules:
    held = slot_rules(len(rows))
    held.put({slot: stand(text, rules, **more) for slot, (text, rules) in enumerate(rows)})
    for slot, (_, rules) in enumerate(rows):
        held.put_suppressed([slot], [*rules.suppressed, 7])
    return held


def logits_of(seed: int, rows: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, (rows, VOCABULARY.size)).astype(np.float32)


def expected(logits: np.ndarray, text: list[int], rules: Rules) -> np.ndarray:
    """Log-probabilities (size,) of what may follow, by ``rules.py``."""
    with_stamps = replace(rules, suppressed=[*rules.suppressed, 7])
    row = logits[None].copy()
    suppress(row, [text], with_stamps)
    top = top_tokens(row[:, : VOCABULARY.first_timestamp], 1)
    allowed = allowed_next(row, top.values[:, 0], [text], with_stamps)
    found = np.full(VOCABULARY.size, NEVER, np.float32)
    if allowed.text[0]:
        found[: VOCABULARY.first_timestamp] = row[0, : VOCABULARY.first_timestamp]
    found[EOT:] = np.maximum(found[EOT:], allowed.tail[0])
    return found - allowed.log_mass[0]


@settings(deadline=None)
@given(rows=rows_of_a_step, seed=st.integers(0, 2**20))
def test_the_same_tokens_may_follow_with_the_same_probabilities(rows: list[tuple[list[int], Rules]], seed: int):
    held = fill(rows)
    logits = logits_of(seed, len(rows))
    ours = torch.from_numpy(logits.copy())
    for slot, (_, rules) in enumerate(rows):
        held.penalise(ours[slot], slot, rules)
    mass = held.allow(ours)
    for slot, (text, rules) in enumerate(rows):
        theirs = expected(logits[slot], text, rules)
        np.testing.assert_allclose((ours[slot] - mass[slot]).numpy(), theirs, atol=2e-5, rtol=1e-5)
    tokens, values = held.choose(ours, mass, is_hot=False)
    for slot, (text, rules) in enumerate(rows):
        theirs = expected(logits[slot], text, rules)
        assert tokens[slot] == theirs.argmax()
        assert float(values[slot]) == pytest.approx(theirs.max(), abs=2e-5)


@settings(deadline=None)
@given(rows=st.lists(st.tuples(texts, rules_of_a_row), min_size=1, max_size=4))
def test_a_text_that_grows_token_by_token_ends_where_the_whole_text_does(rows: list[tuple[list[int], Rules]]):
    held = fill([([], rules) for _, rules in rows])
    longest = max(len(text) for text, _ in rows)
    for step in range(longest):
        held.advance(torch.tensor([text[step] if step < len(text) else EOT for text, _ in rows]))
    whole = fill(rows)
    for slot, (text, _) in enumerate(rows):
        ended = len(text) < longest
        assert held.active[slot] == (0 if ended else 1)
        if text:
            assert held.position[slot] == whole.position[slot]
            assert held.token[slot] == whole.token[slot]
        seed = 7 + slot
        grown, given_whole = (torch.from_numpy(logits_of(seed, len(rows))) for _ in range(2))
        assert torch.equal(held.allow(grown)[slot], whole.allow(given_whole)[slot])
        assert torch.equal(grown[slot], given_whole[slot])


def test_a_text_ends_with_the_end_or_where_there_is_no_room():
    rules = Rules(vocabulary=VOCABULARY)
    held = slot_rules(3)
    held.put(
        {
            slot: Stand(prompt=PROMPT, rules=rules, limit=limit, is_driven=slot == 2)
            for slot, limit in enumerate((9, 2, 9))
        }
    )
    held.advance(torch.tensor([8, 8, 8]))
    assert held.active.tolist() == [1, 1, 0]
    assert held.position.tolist() == [2, 2, 1]
    held.advance(torch.tensor([EOT, 1, 1]))
    assert held.active.tolist() == [0, 0, 0]
    assert held.token.tolist() == [8, 8, PROMPT[-1]]


def test_samples_follow_the_probabilities_at_the_temperature():
    count = 4000
    held = slot_rules(count)
    rules = Rules(vocabulary=VOCABULARY, timestamps=False)
    drawn = np.random.default_rng(0).random((count, 3), np.float32)
    held.put(
        {
            slot: Stand(prompt=PROMPT, rules=rules, limit=9, text=[1], temperature=0.5, randoms=drawn[slot])
            for slot in range(count)
        }
    )
    logits = torch.full((count, VOCABULARY.size), NEVER)
    logits[:, 3], logits[:, 12] = float(np.log(0.6)), float(np.log(0.4))
    tokens, values = held.choose(logits, held.allow(logits), is_hot=True)
    assert set(tokens.tolist()) == {3, 12}
    # 0.6 ** 2 against 0.4 ** 2
    assert (tokens == 3).float().mean().item() == pytest.approx(0.692, abs=0.03)
    assert values[tokens == 3][0].exp().item() == pytest.approx(0.6, rel=1e-4)


def test_slots_at_temperature_zero_are_greedy_beside_others():
    held = slot_rules(2)
    rules = Rules(vocabulary=VOCABULARY, timestamps=False)
    randoms = np.full(3, 0.999, np.float32)
    held.put(
        {
            0: Stand(prompt=PROMPT, rules=rules, limit=9),
            1: Stand(prompt=PROMPT, rules=rules, limit=9, temperature=1.0, randoms=randoms),
        }
    )
    logits = torch.zeros(2, VOCABULARY.size)
    logits[:, 1] = 0.5
    tokens, _ = held.choose(logits, held.allow(logits), is_hot=True)
    assert tokens.tolist() == [1, 13]


def test_a_long_list_of_suppressed_tokens_finds_room():
    held = slot_rules(2)
    rules = Rules(vocabulary=VOCABULARY, timestamps=False)
    held.put({slot: Stand(prompt=PROMPT, rules=rules, limit=9) for slot in range(2)})
    assert not held.put_suppressed([0], [1, 7])
    assert held.put_suppressed([1], [7, *[3] * 500])
    logits = torch.zeros(2, VOCABULARY.size)
    held.allow(logits)
    assert [row.isneginf().nonzero()[:, 0].tolist() for row in logits] == [[0, 1, 2, 7], [0, 2, 3, 7]]
