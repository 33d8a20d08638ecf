from pathlib import Path

import numpy as np
import pytest

from auricle.engines.base import EngineConfig
from auricle.engines.fake_engine import FIRST_TIMESTAMP, VOCABULARY, FakeEngine, load
from auricle.errors import EngineFailed, EngineOutOfMemory, InvalidOption
from auricle.types import Decoding, DecodingOptions, Row


def engine(**options: str) -> FakeEngine:
    loaded = load(EngineConfig(engine="fake", model_name="m", model_path=Path(), options=options))
    assert isinstance(loaded, FakeEngine)
    return loaded


def row(seconds: float = 7.5, seed: int = 0, key: str = "k", **options: object) -> Row:
    features = np.random.default_rng(seed).normal(size=(80, round(seconds * 100))).astype(np.float32)
    return Row(key=key, features=features, prompt=(), options=DecodingOptions(**options))  # pyright: ignore[reportArgumentType]


def decode(item: Row) -> Decoding:
    return engine().decode([item])[0]


def test_the_same_features_give_the_same_words_and_others_give_others():
    assert decode(row(seed=1)) == decode(row(seed=1, key="other"))
    assert decode(row(seed=1)) != decode(row(seed=2))


def test_each_second_is_a_word_and_each_five_seconds_a_segment():
    tokens = decode(row(7.5)).tokens
    stamps = [token - FIRST_TIMESTAMP for token in tokens if token >= FIRST_TIMESTAMP]
    assert stamps == [0, 250, 250, 375]
    assert len([token for token in tokens if token in VOCABULARY]) == 8


def test_without_timestamps_there_are_only_words():
    assert set(decode(row(without_timestamps=True)).tokens) <= set(VOCABULARY)


def test_words_and_logprobs_are_given_when_asked_for():
    plain, full = decode(row(2.5)), decode(row(2.5, word_timestamps=True, logprobs=True))
    assert (plain.token_times, plain.token_probabilities, plain.token_logprobs) == (None, None, None)
    assert full.token_times == ((0.0, 1.0), (1.0, 2.0), (2.0, 2.5))
    assert full.token_probabilities is not None
    assert full.token_logprobs is not None
    assert len(full.token_probabilities) == len(full.token_logprobs) == 3


def test_features_without_variation_are_silence():
    silence = Row(key="k", features=np.full((80, 300), -1.5, np.float32), prompt=(), options=DecodingOptions())
    assert decode(silence) == Decoding(no_speech_prob=1.0)


def test_at_most_max_new_tokens_words_are_given():
    assert len(decode(row(10, without_timestamps=True, max_new_tokens=3)).tokens) == 3


def test_the_language_is_english():
    probabilities = decode(row(task="detect_language")).language_probabilities
    assert probabilities[0][0] == "en"
    assert sum(probability for _, probability in probabilities) == pytest.approx(1.0)


def test_the_words_are_words_of_the_whisper_vocabulary():
    from tokenizers import Tokenizer

    import auricle

    path = Path(auricle.__file__).parent / "models/nano/tokenizer.json"
    text = Tokenizer.from_file(str(path)).decode(list(VOCABULARY))
    assert text == " the quick river moves past seven quiet hills and every small bird sings before dawn"


def test_it_raises_for_a_key_when_asked_to():
    failing = engine(raise_on_key="bad")
    assert len(failing.decode([row(key="good")])) == 1
    with pytest.raises(RuntimeError):
        failing.decode([row(key="good"), row(key="so-bad")])


def test_it_runs_out_of_memory_above_a_number_of_rows():
    small = engine(oom_above="2")
    assert len(small.decode([row(), row()])) == 2
    with pytest.raises(EngineOutOfMemory):
        small.decode([row(), row(), row()])


def test_loading_fails_when_asked_to():
    with pytest.raises(EngineFailed, match="no luck"):
        engine(fail_load="no luck")


def test_an_unknown_option_is_refused_by_name():
    with pytest.raises(InvalidOption, match="crash_on_monday"):
        engine(crash_on_monday="1")


def test_rows_share_a_batch_by_what_is_asked_for():
    assert engine().info.batch_by == ()
    assert engine(batch_by="options,prompt_length").info.batch_by == ("options", "prompt_length")
