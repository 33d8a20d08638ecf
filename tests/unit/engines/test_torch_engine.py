"""Rows in one process, joining and leaving; what every engine must do is in the contract suite."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch
from random_models import noise, write_model

from auricle.audio.decode import decode_audio
from auricle.audio.mel import log_mel
from auricle.engines.base import EngineConfig
from auricle.engines.torch_encoder import Encoded
from auricle.engines.torch_engine import TorchEngine, load
from auricle.engines.torch_slots import SlotPool
from auricle.errors import EngineOutOfMemory
from auricle.tokenizer import LANGUAGES, Tokenizer
from auricle.types import Decoding, DecodingOptions, Features, Row
from samples import NANO, SAMPLES

CLIPS = ["01_en_slt.wav", "02_en_rms.wav", "07_en_human_digits.wav"]
TOKENIZER = Tokenizer(NANO)


def engine_of(folder: Path, **changes: Any) -> TorchEngine:
    asked: dict[str, Any] = {"device": "cpu", "compute_type": "float32", "threads": 1}
    return load(EngineConfig(engine="torch", model_name="m", model_path=folder, **(asked | changes)))


@pytest.fixture(scope="module")
def engine() -> Iterator[TorchEngine]:
    loaded = engine_of(NANO)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def features() -> dict[str, Features]:
    return {name: log_mel(next(decode_audio(SAMPLES / name)), 80) for name in CLIPS}


def row_of(features: Features, key: str, *, previous: Sequence[int] = (), language: str = "en", **options: Any) -> Row:
    defaults: dict[str, Any] = {"beam_size": 1, "context_frames": 400, "max_new_tokens": 16}
    asked = DecodingOptions(**(defaults | options))
    start = TOKENIZER.sequence(
        language=language, task="transcribe", timestamps=not asked.without_timestamps, multilingual=True
    )
    before = (TOKENIZER.sot_prev, *previous) if previous else ()
    return Row(key=key, features=features, prompt=(*before, *start), options=asked)


def run(engine: TorchEngine, waiting: Sequence[tuple[int, Row]]) -> dict[int, Decoding]:
    """Answers by number; each row waits for the step of its number before it joins."""
    answers: dict[int, Decoding] = {}
    queue = list(enumerate(waiting))
    steps = 0
    while queue or not engine.is_empty:
        ready = [(number, row) for number, (begin, row) in queue if begin <= steps or engine.is_empty]
        if ready:
            joined = engine.join(ready)
            inside = {number for number, _ in ready[:joined]}
            queue = [entry for entry in queue if entry[0] not in inside]
        for ticket, decoding in engine.step():
            assert ticket not in answers, "a row was answered twice"
            answers[ticket] = decoding  # pyright: ignore[reportArgumentType]
        steps += 1
    return answers


def alone(engine: TorchEngine, row: Row) -> Decoding:
    return run(engine, [(0, row)])[0]


def same(one: Decoding, other: Decoding) -> bool:
    """Up to the order in which sums are rounded."""
    return (
        (one.tokens, one.temperature) == (other.tokens, other.temperature)
        and one.avg_logprob == pytest.approx(other.avg_logprob, abs=1e-3)
        and one.no_speech_prob == pytest.approx(other.no_speech_prob, abs=1e-3)
        and (one.token_times is None) == (other.token_times is None)
        and [code for code, _ in one.language_probabilities[:1]]
        == [code for code, _ in other.language_probabilities[:1]]
    )


VARIANTS: list[dict[str, Any]] = [
    {},
    {"language": "de"},
    {"word_timestamps": True},
    {"logprobs": True, "without_timestamps": True},
    {"temperature": 0.6, "best_of": 3},
    {"temperature": 1.0, "best_of": 1, "word_timestamps": True},
    {"beam_size": 3},
    {"beam_size": 2, "word_timestamps": True},
    {"task": "detect_language"},
    {"previous": tuple(TOKENIZER.encode(" the story so far"))},
    {"context_frames": 1000},
    {"max_new_tokens": 3, "word_timestamps": True},
    {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2},
    {"suppress_tokens": (-1, 11, 13, *range(300, 500))},
]


@pytest.fixture(scope="module")
def rows(features: dict[str, Features]) -> list[Row]:
    """One of each variant."""
    return [row_of(features[CLIPS[number % 3]], f"row {number}", **variant) for number, variant in enumerate(VARIANTS)]


@pytest.fixture(scope="module")
def expected(engine: TorchEngine, rows: list[Row]) -> list[Decoding]:
    """What each says when it is alone."""
    return [alone(engine, row) for row in rows]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrivals=st.lists(st.tuples(st.integers(0, 15), st.integers(0, len(VARIANTS) - 1)), min_size=2, max_size=6))
def test_rows_say_the_same_in_any_company_whenever_they_come(
    engine: TorchEngine, rows: list[Row], expected: list[Decoding], arrivals: list[tuple[int, int]]
):
    answers = run(engine, [(begin, replace(rows[which])) for begin, which in sorted(arrivals)])
    assert sorted(answers) == list(range(len(arrivals)))
    for number, (_, which) in enumerate(sorted(arrivals)):
        assert same(answers[number], expected[which]), VARIANTS[which]


def test_nothing_changes_where_the_host_looks_late_and_steps_are_of_few_sizes(
    engine: TorchEngine, rows: list[Row], expected: list[Decoding], monkeypatch: pytest.MonkeyPatch
):
    # As on CUDA.
    monkeypatch.setattr(engine, "_looks_late", True)
    monkeypatch.setattr(engine._pool, "_rounds_up", True)  # pyright: ignore[reportPrivateUsage]
    answers = run(engine, [(2 * number, row) for number, row in enumerate(rows)])
    for number, decoding in enumerate(expected):
        assert same(answers[number], decoding), VARIANTS[number]


def test_rows_go_on_while_others_are_on_their_way_and_may_leave(
    engine: TorchEngine, features: dict[str, Features], monkeypatch: pytest.MonkeyPatch
):
    # As on CUDA, where windows are encoded beside the steps.
    is_ready = True
    monkeypatch.setattr(Encoded, "is_ready", property(lambda _: is_ready))
    first, second, third = (row_of(features[CLIPS[n]], f"on the way {n}") for n in range(3))
    engine.join([(0, first)])
    engine.step()
    is_ready = False
    engine.join([(1, second)])
    engine.step()
    engine.drop([1])
    # It has the slot in which the window that comes was to be.
    assert engine.join([(2, third)]) == 1
    assert engine.slots_used == 2
    done: list[object] = []
    while not done:
        done = [ticket for ticket, _ in engine.step()]
    assert done == [0]
    found = run(engine, [])
    assert list(found) == [2]
    assert found[2].tokens == alone(engine, third).tokens


def test_a_new_key_is_a_new_window(engine: TorchEngine, features: dict[str, Features]):
    found = [alone(engine, row_of(features[CLIPS[n]], f"fresh {n}")).tokens for n in (0, 1)]
    assert found[0] != found[1]


def test_samples_depend_on_the_audio_and_the_temperature_alone(engine: TorchEngine, features: dict[str, Features]):
    options: dict[str, Any] = {"temperature": 1.0, "best_of": 2, "without_timestamps": True}
    row = row_of(features[CLIPS[0]], "sampled", **options)
    others = [(0, row_of(features[CLIPS[1]], f"beside {n}", **options)) for n in range(2)]
    assert run(engine, [*others, (2, row)])[2].tokens == alone(engine, row).tokens
    noise = np.random.default_rng(0).normal(0, 1, (80, 100)).astype(np.float32)
    again = [alone(engine, row_of(noise, f"noise {n}", **options)).tokens for n in range(2)]
    assert again[0] == again[1]
    hotter: list[tuple[int, ...]] = []
    for temperature in (1.01, 1.02):
        options["temperature"] = temperature
        hotter.append(alone(engine, row_of(noise, "noise", **options)).tokens)
    assert len({*again, *hotter}) == 3


def test_a_window_that_is_tried_again_is_not_encoded_again(
    engine: TorchEngine, features: dict[str, Features], monkeypatch: pytest.MonkeyPatch
):
    model = engine._loaded.model  # pyright: ignore[reportPrivateUsage]
    counts: list[int] = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda features: counts.append(len(features)) or encode(features))
    tries: list[dict[str, Any]] = [{"task": "detect_language"}, {}, {"temperature": 0.4, "best_of": 2}]
    for options in tries:
        alone(engine, row_of(features[CLIPS[0]], "tried again", **options))
    others = [(0, row_of(features[CLIPS[1]], f"others {n}")) for n in range(engine.info.max_batch)]
    run(engine, others)
    before = len(counts)
    alone(engine, row_of(features[CLIPS[0]], "tried again", temperature=0.6, best_of=2))
    assert len(counts) == before == 1 + len(others)


def test_one_window_is_encoded_a_step_and_those_inside_go_on(
    engine: TorchEngine, features: dict[str, Features], monkeypatch: pytest.MonkeyPatch
):
    model = engine._loaded.model  # pyright: ignore[reportPrivateUsage]
    counts: list[int] = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda features: counts.append(len(features)) or encode(features))
    engine.join([(n, row_of(features[CLIPS[n % 3]], f"in turn {n}")) for n in range(4)])
    for step in range(1, 5):
        engine.step()
        assert counts == [1] * step
        assert [row.steps for row in engine._inside] == list(range(step, 0, -1))  # pyright: ignore[reportPrivateUsage]
    engine.clear()


def test_rows_that_are_dropped_leave_room_and_no_answer(engine: TorchEngine, features: dict[str, Features]):
    slots = engine.info.max_batch
    waiting = [(n, row_of(features[CLIPS[0]], "dropped")) for n in range(slots + 2)]
    assert engine.join(waiting) == slots
    assert engine.join(waiting[slots:]) == 0
    engine.step()
    engine.drop([0, 1, "nobody"])
    assert engine.join(waiting[slots:]) == 2
    answered: set[object] = set()
    while not engine.is_empty:
        answered |= {ticket for ticket, _ in engine.step()}
    assert answered == set(range(2, slots + 2))


def test_a_cleared_engine_is_empty_and_works(engine: TorchEngine, features: dict[str, Features]):
    row = row_of(features[CLIPS[0]], "cleared")
    before = alone(engine, row)
    engine.join([(0, row), (1, row_of(features[CLIPS[1]], "cleared too", beam_size=3))])
    engine.step()
    engine.clear()
    assert engine.is_empty
    assert alone(engine, row).tokens == before.tokens


def test_a_row_that_needs_more_slots_than_there_are_is_refused(engine: TorchEngine, features: dict[str, Features]):
    row = row_of(features[CLIPS[0]], "too many", beam_size=engine.info.max_batch + 1)
    with pytest.raises(EngineOutOfMemory, match="slots"):
        engine.join([(0, row)])
    assert engine.is_empty
    fits = row_of(features[CLIPS[0]], "fits")
    assert engine.join([(0, fits), (1, row)]) == 1
    engine.clear()


def test_a_row_waits_until_as_many_slots_are_free_as_it_takes(engine: TorchEngine, features: dict[str, Features]):
    slots = engine.info.max_batch
    narrow = row_of(features[CLIPS[0]], "narrow", max_new_tokens=4)
    wide = row_of(features[CLIPS[0]], "wide", beam_size=slots, max_new_tokens=4)
    assert engine.join([(0, narrow), (1, wide)]) == 1
    assert engine.join([(1, wide)]) == 0
    while not engine.is_empty:
        engine.step()
    assert engine.join([(1, wide)]) == 1
    engine.clear()


def test_where_memory_does_not_suffice_there_are_fewer_slots(
    features: dict[str, Features], monkeypatch: pytest.MonkeyPatch
):
    engine = engine_of(NANO)
    row = row_of(features[CLIPS[0]], "short of memory")
    before, slots = alone(engine, row), engine.info.max_batch
    step = SlotPool.step

    def step_of_few(pool: SlotPool, *arguments: Any) -> Any:
        if pool.slots == slots:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return step(pool, *arguments)

    monkeypatch.setattr(SlotPool, "step", step_of_few)
    engine.join([(0, row)])
    with pytest.raises(EngineOutOfMemory):
        engine.step()
    engine.clear()
    assert engine.is_empty
    assert engine.info.max_batch == slots // 2
    assert alone(engine, row) == before
    engine.close()


def test_the_default_search_fits_however_few_slots_are_asked_for(features: dict[str, Features]):
    engine = engine_of(NANO, max_batch=1)
    assert alone(engine, row_of(features[CLIPS[0]], "beams", beam_size=5)).tokens
    engine.close()


def test_a_prompt_that_fills_all_places_leaves_room_for_one_token(engine: TorchEngine, features: dict[str, Features]):
    long = [11] * 600
    assert len(alone(engine, row_of(features[CLIPS[0]], "no room", previous=long)).tokens) <= 1


def test_text_that_is_cut_off_has_times_too(engine: TorchEngine, features: dict[str, Features]):
    row = row_of(features[CLIPS[0]], "cut off", word_timestamps=True, max_new_tokens=4)
    decoding = alone(engine, row)
    text = [token for token in decoding.tokens if token < TOKENIZER.eot]
    assert decoding.token_times is not None
    assert len(decoding.token_times) == len(text) == 3
    flat = [time_s for pair in decoding.token_times for time_s in pair]
    assert flat == sorted(flat)
    assert flat[-1] == pytest.approx(row.features.shape[1] // 2 * 0.02)


def test_silence_has_words_of_no_length(engine: TorchEngine):
    row = row_of(np.zeros((80, 1), np.float32), "one frame", word_timestamps=True, logprobs=True)
    decoding = alone(engine, row)
    assert decoding.token_times is not None
    assert decoding.token_logprobs is not None
    assert len(decoding.token_times) == len(decoding.token_logprobs)


def test_128_mels_a_hundred_languages_and_a_pruned_decoder_run(tmp_path: Path):
    folder = write_model(tmp_path / "turbo", n_mels=128, vocabulary=51866, encoder_layers=4, decoder_layers=2)
    engine = engine_of(folder)
    assert (engine.info.n_mels, engine.info.is_multilingual, engine.info.can_translate) == (128, True, False)
    decoding = alone(engine, noise(128, word_timestamps=True))
    assert 0 < len(decoding.tokens) <= 5
    assert all(0 <= token < 51866 for token in decoding.tokens)
    detected = alone(engine, noise(128, task="detect_language"))
    assert {code for code, _ in detected.language_probabilities} == set(LANGUAGES)
    engine.close()


def test_a_model_of_english_only_knows_no_languages(tmp_path: Path):
    folder = write_model(tmp_path / "en", n_mels=80, vocabulary=51864, encoder_layers=2, decoder_layers=2)
    engine = engine_of(folder)
    assert not engine.info.is_multilingual
    decoding = alone(engine, replace(noise(80, word_timestamps=True), prompt=(50257,)))
    assert decoding.token_times
    assert all(0 <= token < 51864 for token in decoding.tokens)
    engine.close()
