"""Whisper models with random weights, of shapes that no embedded model has."""

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from auricle.types import DecodingOptions, Row
from samples import NANO_HF

WIDTH = 64


def write_model(folder: Path, *, n_mels: int, vocabulary: int, encoder_layers: int, decoder_layers: int) -> Path:
    """A folder in Hugging Face form with random weights, in two files, without a generation config."""
    random = np.random.default_rng(0)
    tensors: dict[str, np.ndarray] = {}

    def add(name: str, *shape: int, bias: bool = True) -> None:
        tensors[f"model.{name}.weight"] = (random.standard_normal(shape) * 0.1).astype(np.float16)
        if bias:
            tensors[f"model.{name}.bias"] = np.zeros(shape[0], np.float16)

    add("encoder.conv1", WIDTH, n_mels, 3)
    add("encoder.conv2", WIDTH, WIDTH, 3)
    add("encoder.embed_positions", 1500, WIDTH, bias=False)
    add("decoder.embed_positions", 448, WIDTH, bias=False)
    add("decoder.embed_tokens", vocabulary, WIDTH, bias=False)
    for stack, layers in (("encoder", encoder_layers), ("decoder", decoder_layers)):
        add(f"{stack}.layer_norm", WIDTH)
        attentions = ("self_attn", "encoder_attn") if stack == "decoder" else ("self_attn",)
        for layer in (f"{stack}.layers.{number}" for number in range(layers)):
            for attention in attentions:
                add(f"{layer}.{attention}_layer_norm", WIDTH)
                for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                    add(f"{layer}.{attention}.{part}", WIDTH, WIDTH, bias=part != "k_proj")
            add(f"{layer}.final_layer_norm", WIDTH)
            add(f"{layer}.fc1", 4 * WIDTH, WIDTH)
            add(f"{layer}.fc2", WIDTH, 4 * WIDTH)
    folder.mkdir()
    names = sorted(tensors)
    files = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, held in files.items():
        save_file({name: tensors[name] for name in held}, folder / file)
    index = {"weight_map": {name: file for file, held in files.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {
        "model_type": "whisper",
        "encoder_layers": encoder_layers,
        "decoder_layers": decoder_layers,
        "encoder_attention_heads": 1,
        "decoder_attention_heads": 1,
    }
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copyfile(NANO_HF / "tokenizer.json", folder / "tokenizer.json")
    return folder


def noise(n_mels: int, **options: object) -> Row:
    features = np.random.default_rng(0).standard_normal((n_mels, 700), np.float32)
    asked = DecodingOptions(beam_size=1, max_new_tokens=5, context_frames=800, **options)  # pyright: ignore[reportArgumentType]
    return Row(key="noise", features=features, prompt=(50258, 50259, 50360), options=asked)
