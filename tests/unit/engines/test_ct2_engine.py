from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import auricle
from auricle.audio.decode import decode_audio
from auricle.audio.mel import log_mel
from auricle.engines.base import EngineConfig
from auricle.engines.ct2_engine import CT2Engine, load
from auricle.tokenizer import Tokenizer
from auricle.types import DecodingOptions, Row

NANO = Path(auricle.__file__).parent / "models" / "nano"
SAMPLES = Path(__file__).parents[2] / "audio" / "samples"
CLIPS = ("01_en_slt", "02_en_rms", "07_en_human_digits")
CONFIG = EngineConfig(engine="ct2", model_name="nano", model_path=NANO, device="cpu", compute_type="float32", threads=1)


class CountingModel:
    """The model, with a list of the lengths that it was given to encode."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.encoded: list[tuple[int, ...]] = []

    def encode(self, features: Any, **options: Any) -> Any:
        self.encoded.append(tuple(features.shape))
        return self._model.encode(features, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


@pytest.fixture(scope="module")
def engine() -> CT2Engine:
    return load(CONFIG)


@pytest.fixture
def counting(engine: CT2Engine, monkeypatch: pytest.MonkeyPatch) -> CountingModel:
    model = CountingModel(engine._model)
    monkeypatch.setattr(engine, "_model", model)
    monkeypatch.setattr(engine, "_encodings", type(engine._encodings)())
    return model


@pytest.fixture(scope="module")
def prompt() -> tuple[int, ...]:
    return Tokenizer(NANO).sequence(language="en", task="transcribe", timestamps=True, multilingual=True)


def row(sample: str, prompt: tuple[int, ...], key: str | None = None, **options: Any) -> Row:
    options.setdefault("beam_size", 1)
    asked = DecodingOptions(**options)
    samples = np.concatenate(list(decode_audio(SAMPLES / f"{sample}.wav")))
    return Row(
        key=key or f"{sample}:{asked.context_frames}", features=log_mel(samples, 80), prompt=prompt, options=asked
    )


def test_the_encoder_is_given_as_many_frames_as_the_options_say(engine: CT2Engine, counting: CountingModel, prompt):
    engine.decode([row(CLIPS[0], prompt)])
    engine.decode([row(CLIPS[0], prompt, context_frames=800)])
    assert counting.encoded == [(1, 80, 3000), (1, 80, 800)]


def test_detection_hotter_tries_and_words_cost_one_encode(engine: CT2Engine, counting: CountingModel, prompt):
    detection = row(CLIPS[0], prompt[:1], key="one", task="detect_language")
    assert engine.decode([detection])[0].language_probabilities[0][0] == "en"
    engine.decode([row(CLIPS[0], prompt, key="one", word_timestamps=True)])
    engine.decode([row(CLIPS[0], prompt, key="one", temperature=0.4)])
    assert len(counting.encoded) == 1


def test_samples_are_the_same_after_every_start(prompt):
    hot = [row(sample, prompt, temperature=1.0, best_of=2) for sample in CLIPS]
    first, second = [load(CONFIG).decode(hot) for _ in range(2)]
    assert first == second
    assert first != load(CONFIG).decode([replace(one, options=replace(one.options, temperature=0.0)) for one in hot])


def test_a_row_that_comes_twice_in_a_batch_is_encoded_once(engine: CT2Engine, counting: CountingModel, prompt):
    same = row(CLIPS[0], prompt)
    first, second = engine.decode([same, same])
    assert first == second
    assert len(counting.encoded) == 1


def test_old_encodings_go_when_there_are_too_many(engine: CT2Engine, counting: CountingModel, prompt):
    kept = max(8, 2 * engine.info.max_batch)
    waiting = row(CLIPS[0], prompt, key="waiting", context_frames=600, task="detect_language")
    engine.decode([waiting])
    for number in (*range(kept + 1), kept, 0):
        engine.decode([row(CLIPS[0], prompt, key=f"{number}", context_frames=600)])
    # The last was still there, the first had gone; the one whose text is still to come was older than both.
    assert len(counting.encoded) == 1 + kept + 2
    assert "waiting" in engine._encodings
    assert len(engine._encodings) == kept


def test_speech_is_understood_with_a_short_context(engine: CT2Engine, prompt):
    full = engine.decode([row(CLIPS[0], prompt)])[0]
    short = engine.decode([row(CLIPS[0], prompt, context_frames=800)])[0]
    assert Tokenizer(NANO).decode(short.tokens) == Tokenizer(NANO).decode(full.tokens)


@pytest.mark.parametrize("beam_size", [1, 5])
def test_a_batch_with_a_short_context_equals_its_rows_alone(engine: CT2Engine, prompt, beam_size: int):
    rows = [row(sample, prompt, context_frames=800, beam_size=beam_size) for sample in CLIPS]
    together = engine.decode(rows)
    alone = [engine.decode([one])[0] for one in rows]
    assert [decoding.tokens for decoding in together] == [decoding.tokens for decoding in alone]
    assert len({decoding.tokens for decoding in together}) == len(CLIPS)


def test_words_stay_inside_a_context_that_is_shorter_than_the_audio(engine: CT2Engine, prompt):
    cut = row(CLIPS[0], prompt, context_frames=200, word_timestamps=True)
    assert cut.features.shape[1] > 200
    (decoding,) = engine.decode([cut])
    assert decoding.token_times
    assert max(end for _, end in decoding.token_times) <= 2.0


@pytest.mark.parametrize("count", [1, 4, 9])
def test_as_many_new_tokens_are_made_as_the_options_allow(engine: CT2Engine, prompt, count: int):
    end_is_forbidden = {"suppress_tokens": (Tokenizer(NANO).eot,), "max_new_tokens": count}
    for before in ((), (50361, *range(1000, 1060))):
        (decoding,) = engine.decode([row(CLIPS[0], (*before, *prompt), **end_is_forbidden)])
        assert len(decoding.tokens) == count


def test_features_are_padded_with_zeros_and_not_changed(engine: CT2Engine, counting: CountingModel, prompt):
    short = row(CLIPS[0], prompt, context_frames=1000)
    padded = np.zeros((80, 1000), np.float32)
    padded[:, : short.features.shape[1]] = short.features
    before = short.features.copy()
    first = engine.decode([short])[0]
    assert np.array_equal(short.features, before)
    assert engine.decode([replace(short, key="padded", features=padded)])[0].tokens == first.tokens
