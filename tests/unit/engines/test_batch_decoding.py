from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted_network import CHECKPOINT, SOT, TRAP, ScriptedNetwork

from auricle.engines.base import EngineConfig
from auricle.engines.batch_decoding import BatchEngine, describe_model
from auricle.engines.special_tokens import SpecialTokens
from auricle.types import DecodingOptions, Row

PROMPT = (SOT, 50259, 50359, 50363)
TEXTS = ([101], [102, 103], [104, 105, 106, 107], [108, 109, 110, 111, 112, 113])


def engine_of(network: ScriptedNetwork, max_batch: int = 8) -> BatchEngine[int, int]:
    config = EngineConfig(engine="scripted", model_name="m", model_path=Path(), max_batch=max_batch)
    info = describe_model(config, CHECKPOINT, device="cpu", compute_type="float32", max_batch=4, details={})
    return BatchEngine(network, info)


def row_of(number: int, **options: Any) -> Row:
    asked = DecodingOptions(**{"beam_size": 1, "without_timestamps": True, "suppress_tokens": ()} | options)
    return Row(key=f"{number}", features=np.full((1, 10), number, np.float32), prompt=PROMPT, options=asked)


def rows_of(**options: Any) -> list[Row]:
    return [row_of(number, **options) for number in range(len(TEXTS))]


@pytest.mark.parametrize(
    "options",
    [{}, {"beam_size": 3, "patience": 9.0}, {"temperature": 0.5, "best_of": 3}],
    ids=["greedy", "beams", "samples"],
)
def test_each_window_of_a_batch_gets_its_own_text(options: dict[str, Any]):
    network = ScriptedNetwork(TEXTS)
    decodings = engine_of(network).decode(rows_of(**options))
    assert [list(decoding.tokens) for decoding in decodings] == list(TEXTS)
    assert network.ended == 1


def test_beams_find_the_text_behind_a_first_token_that_is_not_the_likeliest():
    greedy = engine_of(ScriptedNetwork(TEXTS, has_trap=True)).decode(rows_of(max_new_tokens=6))
    assert all(decoding.tokens[0] == TRAP for decoding in greedy)
    decodings = engine_of(ScriptedNetwork(TEXTS, has_trap=True)).decode(rows_of(beam_size=3, patience=9.0))
    assert [list(decoding.tokens) for decoding in decodings] == list(TEXTS)


def test_windows_that_are_done_leave_when_they_are_half_of_those_that_are_there():
    network = ScriptedNetwork(TEXTS)
    engine_of(network).decode(rows_of())
    # The two short ones first, then, of the two that are left, the shorter one.
    assert network.runs[0].kept == [[2, 3], [1]]


def test_a_text_ends_where_no_more_tokens_are_asked_for():
    (decoding,) = engine_of(ScriptedNetwork(TEXTS)).decode([row_of(3, max_new_tokens=2)])
    assert list(decoding.tokens) == TEXTS[3][:2]


def test_what_is_asked_for_again_is_neither_encoded_nor_projected_again():
    network = ScriptedNetwork(TEXTS)
    engine = engine_of(network)
    engine.decode([row_of(1, task="detect_language")])
    for _ in range(2):
        engine.decode([row_of(1)])
    assert (network.encoded, network.projected) == ([1], [1])


def test_windows_whose_text_is_still_to_come_stay_before_those_that_are_done():
    network = ScriptedNetwork([[101]] * 30)
    engine = engine_of(network, max_batch=1)
    engine.decode([row_of(0, task="detect_language")])
    for number in (*range(1, 30), 0):
        engine.decode([row_of(number)])
    assert network.encoded == network.projected == [*range(30)]


def test_a_batch_can_pause_before_each_window_and_each_step():
    pauses: list[int] = []
    network = ScriptedNetwork(TEXTS)
    engine_of(network).decode(rows_of(), lambda: pauses.append(len(network.encoded)))
    # Before the windows, and before all steps but the first, the longest text's and its end's.
    assert pauses == [0, 1, 2, 3] + [4] * len(TEXTS[3])


def test_what_a_pause_raises_comes_out_and_the_engine_goes_on():
    network = ScriptedNetwork(TEXTS)
    engine = engine_of(network)

    def stop() -> None:
        if network.runs:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        engine.decode(rows_of(), stop)
    assert list(engine.decode([row_of(1)])[0].tokens) == TEXTS[1]


def test_a_batch_that_goes_first_leaves_the_other_as_it_was():
    engine = engine_of(ScriptedNetwork(TEXTS))
    between: list[Sequence[int]] = []

    def let_another_go_first() -> None:
        between.append(engine.decode([row_of(2, beam_size=2, patience=9.0)])[0].tokens)

    decodings = engine.decode(rows_of(), let_another_go_first)
    assert [list(decoding.tokens) for decoding in decodings] == list(TEXTS)
    assert {tuple(tokens) for tokens in between} == {tuple(TEXTS[2])}


def test_words_have_a_time_and_a_probability_for_each_token():
    (decoding,) = engine_of(ScriptedNetwork(TEXTS)).decode([row_of(2, word_timestamps=True)])
    assert decoding.token_times is not None
    assert decoding.token_probabilities is not None
    assert decoding.token_logprobs is not None
    assert len(decoding.token_times) == len(decoding.token_probabilities) == len(decoding.token_logprobs) == 4


def test_an_empty_text_has_no_words():
    (decoding,) = engine_of(ScriptedNetwork([[]])).decode([row_of(0, word_timestamps=True)])
    assert (decoding.tokens, decoding.token_times, decoding.token_probabilities) == ((), (), ())


def test_the_languages_are_those_of_the_model_the_best_first():
    network = ScriptedNetwork([[50261]])  # German after the start of transcript
    (decoding,) = engine_of(network).decode([row_of(0, task="detect_language")])
    assert len(decoding.language_probabilities) == 99
    code, probability = decoding.language_probabilities[0]
    assert code == "de"
    assert probability > 0.9
    assert sum(probability for _, probability in decoding.language_probabilities) == pytest.approx(1)


def test_the_special_tokens_of_a_multilingual_model():
    special = SpecialTokens.of(CHECKPOINT)
    assert (special.vocabulary.eot, special.sot, special.vocabulary.first_timestamp) == (50257, 50258, 50364)
    assert (special.no_speech, special.no_timestamps) == (50362, 50363)


def test_an_alignment_begins_with_no_timestamps_whatever_the_prompt():
    special = SpecialTokens.of(CHECKPOINT)
    spoken = (7, 8, SOT, 50259, 50359)
    assert special.before_text(spoken, DecodingOptions()) == (SOT, 50259, 50359, 50363)
    plain = special.before_text((*spoken, 50363), DecodingOptions(without_timestamps=True))
    assert plain == (SOT, 50259, 50359, 50363)


@pytest.mark.parametrize(("asked", "batch"), [(0, 4), (2, 2)])
def test_a_batch_is_as_large_as_asked_for_else_as_the_engine_likes(asked: int, batch: int):
    assert engine_of(ScriptedNetwork(TEXTS), max_batch=asked).info.max_batch == batch
