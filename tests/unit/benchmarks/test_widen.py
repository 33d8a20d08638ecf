"""The widened nano has the shape it says and the outputs of nano."""

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.widen import NANO_HF, SHAPES, greedy_tokens, widen, widen_hf, widen_weights
from ctranslate2 import StorageView
from ctranslate2.models import Whisper
from safetensors.numpy import load_file

from samples import NANO, SAMPLES


def test_nano_at_its_own_size_is_the_embedded_model_byte_for_byte(tmp_path: Path):
    widen(NANO_HF, "nano", tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in NANO.iterdir()}
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (NANO / path.name).read_bytes(), path.name


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Whisper:
    return _load(widen(NANO_HF, "nano", tmp_path_factory.mktemp("nano"), "float32"))


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Whisper:
    return _load(widen(NANO_HF, "tiny", tmp_path_factory.mktemp("tiny"), "float32"))


def _load(folder: Path) -> Whisper:
    return Whisper(str(folder), compute_type="float32", intra_threads=1)


def test_a_widened_model_writes_what_nano_writes(narrow: Whisper, wide: Whisper):
    tokens = greedy_tokens(wide, SAMPLES / "01_en_slt.wav")

    assert tokens == greedy_tokens(narrow, SAMPLES / "01_en_slt.wav")
    assert len(tokens) > 5


def test_the_encoder_repeats_the_features_of_nano(narrow: Whisper, wide: Whisper):
    features = StorageView.from_array(np.random.default_rng(0).standard_normal((1, 80, 200), np.float32))

    encoded = np.asarray(narrow.encode(features))

    assert encoded.shape == (1, 100, 128)
    np.testing.assert_allclose(np.asarray(wide.encode(features)), np.tile(encoded, 3), atol=1e-4)


def test_alignment_heads_move_with_their_layers(tmp_path: Path):
    nano = json.loads((NANO / "config.json").read_text())

    widened = json.loads((widen(NANO_HF, "base", tmp_path) / "config.json").read_text())

    assert widened.pop("alignment_heads") == [[3, 1], [2, 1], [5, 0]]
    assert nano.pop("alignment_heads") == [[2, 1], [1, 1], [3, 0]]
    assert widened == nano


@pytest.mark.parametrize(
    ("size", "width", "heads", "encoder_layers", "decoder_layers"),
    [
        ("tiny", 384, 6, 4, 4),
        ("base", 512, 8, 6, 6),
        ("small", 768, 12, 12, 12),
        ("medium", 1024, 16, 24, 24),
        ("large-v2", 1280, 20, 32, 32),
        ("turbo", 1280, 20, 32, 4),
    ],
)
def test_every_size_has_the_shape_of_the_real_one(
    size: str, width: int, heads: int, encoder_layers: int, decoder_layers: int
):
    shape = SHAPES[size]

    assert (shape.width, shape.heads) == (width, heads)
    assert (shape.encoder.layers, shape.decoder.layers) == (encoder_layers, decoder_layers)
    assert shape.width // shape.heads == 64
    assert (shape.encoder.positions[0], shape.encoder.positions[-1]) == (0, encoder_layers - 1)
    assert (shape.decoder.positions[0], shape.decoder.positions[-1]) == (0, decoder_layers - 1)


def test_added_layers_add_nothing_and_the_others_do():
    weights = widen_weights(load_file(NANO_HF / "model.safetensors"), SHAPES["base"])

    outputs = {layer: weights[f"model.decoder.layers.{layer}.fc2.weight"] for layer in range(6)}

    assert [bool(output.any()) for output in outputs.values()] == [True, False, True, True, False, True]


def test_the_hugging_face_folder_has_the_widened_shape(tmp_path: Path):
    widen_hf(NANO_HF, "base", tmp_path)

    config = json.loads((tmp_path / "config.json").read_text())
    weights = load_file(tmp_path / "model.safetensors")
    assert (config["d_model"], config["encoder_layers"], config["decoder_attention_heads"]) == (512, 6, 8)
    assert weights["model.encoder.layers.5.fc1.weight"].shape == (2048, 512)
    assert weights["model.decoder.embed_tokens.weight"].dtype == np.float16


def test_an_unknown_size_is_refused_before_anything_is_written(tmp_path: Path):
    with pytest.raises(ValueError, match="unknown size 'huge'; use one of nano, tiny, base"):
        widen(NANO_HF, "huge", tmp_path / "out")
    with pytest.raises(ValueError, match="unknown quantization 'int4'"):
        widen(NANO_HF, "tiny", tmp_path / "out", "int4")

    assert not (tmp_path / "out").exists()
