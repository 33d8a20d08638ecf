"""Shapes of Whisper that no embedded model has: 128 mels and a pruned decoder, English only."""

from importlib import import_module
from pathlib import Path

import pytest
from random_models import noise, write_model

from auricle.engines.base import Engine, EngineConfig
from auricle.tokenizer import LANGUAGES
from auricle.types import Row

ENGINES = ("openvino", "mlx")


def engine_of(name: str, folder: Path, compute_type: str) -> Engine:
    pytest.importorskip(name)
    config = EngineConfig(
        engine=name, model_name="m", model_path=folder, device="cpu", compute_type=compute_type, threads=1
    )
    return import_module(f"auricle.engines.{name}_engine").load(config)


@pytest.mark.parametrize("compute_type", ["float32", "int8"])
@pytest.mark.parametrize("name", ENGINES)
def test_128_mels_a_hundred_languages_and_a_pruned_decoder_run(tmp_path: Path, name: str, compute_type: str):
    folder = write_model(tmp_path / "turbo", n_mels=128, vocabulary=51866, encoder_layers=4, decoder_layers=2)
    engine = engine_of(name, folder, compute_type)
    assert (engine.info.n_mels, engine.info.is_multilingual, engine.info.can_translate) == (128, True, False)
    (decoding,) = engine.decode([noise(128, word_timestamps=True)])
    assert 0 < len(decoding.tokens) <= 5
    assert all(0 <= token < 51866 for token in decoding.tokens)
    (detected,) = engine.decode([noise(128, task="detect_language")])
    assert {code for code, _ in detected.language_probabilities} == set(LANGUAGES)


@pytest.mark.parametrize("name", ENGINES)
def test_a_model_of_english_only_knows_no_languages(tmp_path: Path, name: str):
    folder = write_model(tmp_path / "en", n_mels=80, vocabulary=51864, encoder_layers=2, decoder_layers=2)
    engine = engine_of(name, folder, "float32")
    assert not engine.info.is_multilingual
    assert not engine.info.can_translate
    row = noise(80)
    (decoding,) = engine.decode([Row(key="en", features=row.features, prompt=(50257,), options=row.options)])
    assert all(0 <= token < 51864 for token in decoding.tokens)
