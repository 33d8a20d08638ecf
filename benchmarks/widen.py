"""Turn the nano model into the exact shape of a Whisper size, with the same outputs.

Speed depends on the shapes of a network, not on its values, so a widened nano costs what the real weights of that
size cost and still transcribes. The method, with k = d_model / 128:

* every feature is repeated k times, so LayerNorm sees the same mean and variance;
* a weight that reads repeated features is divided by k; the mel input of the first convolution is not repeated;
* attention heads (64 wide in every size) are repeated whole;
* the output embedding is tied to the input embedding, so the k it adds is taken out of the last decoder LayerNorm;
* a layer that is added is a copy of the one before it with output projections of zero: full work that adds nothing.

The weights are written without torch or transformers:

    python -m benchmarks.widen base OUT [--quantization int8|float16|float32] [--check WAV ...]
    python -m benchmarks.widen base OUT --hf [--quantization float16|float32]
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2 import StorageView
from ctranslate2.models import Whisper
from ctranslate2.specs import LayerSpec, WhisperSpec
from ctranslate2.specs.model_spec import visit_spec
from safetensors.numpy import load_file, save_file

from auricle.audio.decode import decode_audio
from auricle.audio.mel import log_mel
from auricle.tokenizer import Tokenizer
from auricle.units import N_SAMPLES

Weights = dict[str, np.ndarray]

NANO_HF = Path(__file__).parents[1] / "models" / "nano" / "hf"
NANO_WIDTH = 128
NANO_LAYERS = 4
QUANTIZATIONS = ("int8", "float16", "float32")
TOKENIZER_FILES = ("tokenizer.json", "preprocessor_config.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The layers of an encoder or a decoder."""

    layers: int

    @property
    def positions(self) -> list[int]:
        """Where the layers of nano go; all other layers add nothing."""
        return [round(i * (self.layers - 1) / (NANO_LAYERS - 1)) for i in range(NANO_LAYERS)]

    @property
    def sources(self) -> list[int]:
        """For each layer, the layer of nano that it is a copy of."""
        return [sum(position <= layer for position in self.positions) - 1 for layer in range(self.layers)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The shape of a Whisper size."""

    width: int
    heads: int
    encoder: Stack
    decoder: Stack

    @property
    def factor(self) -> int:
        """How often a feature of nano is repeated."""
        return self.width // NANO_WIDTH


def _shape(width: int, heads: int, layers: int, decoder_layers: int | None = None) -> Shape:
    return Shape(width=width, heads=heads, encoder=Stack(layers=layers), decoder=Stack(layers=decoder_layers or layers))


SHAPES = {
    "nano": _shape(128, 2, 4),
    "tiny": _shape(384, 6, 4),
    "base": _shape(512, 8, 6),
    "small": _shape(768, 12, 12),
    "medium": _shape(1024, 16, 24),
    "large-v2": _shape(1280, 20, 32),
    "turbo": _shape(1280, 20, 32, 4),
}
"""Turbo's layers; the 80 mels and the vocabulary of nano, of which turbo has 128 and one token more."""


def widen(source_hf: Path, size: str, out: Path, quantization: str = "int8") -> Path:
    """Write nano, widened to `size`, as a CTranslate2 model folder and return `out`.

    `config.json` is written last: a folder that has it is complete. Raises ValueError for an unknown size or
    quantization.
    """
    shape = _shape_of(size)
    _check_choice("quantization", quantization, QUANTIZATIONS)
    spec = _lay_out(widen_weights(_load_weights(source_hf), shape), shape)
    visit_spec(spec, lambda layer, name, value: _store(layer, name.rsplit("/")[-1], value, quantization))
    # Real models tie these two. Added layers are stored in full, though alike, so that memory traffic is the real one.
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    spec.register_vocabulary(_read_vocabulary(source_hf))
    spec.validate()
    spec.decoder.projection.weight = "decoder/embeddings/weight"

    generation = _generation_config(source_hf, shape)
    spec.config.suppress_ids = generation["suppress_tokens"]
    spec.config.suppress_ids_begin = generation["begin_suppress_tokens"]
    spec.config.lang_ids = sorted(generation["lang_to_id"].values())
    spec.config.alignment_heads = generation["alignment_heads"]
    out.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        shutil.copyfile(source_hf / name, out / name)
    spec.save(str(out))
    return out


def widen_hf(source_hf: Path, size: str, out: Path, dtype: str = "float16") -> Path:
    """Write nano, widened to `size`, as a Hugging Face model folder (float16 or float32) and return `out`."""
    shape = _shape_of(size)
    _check_choice("type of a Hugging Face folder", dtype, ("float16", "float32"))
    weights = widen_weights(_load_weights(source_hf), shape)
    out.mkdir(parents=True, exist_ok=True)
    for file in source_hf.iterdir():
        if file.suffix in {".json", ".txt"} and file.name not in {"config.json", "generation_config.json"}:
            shutil.copyfile(file, out / file.name)
    stored = {name: value.astype(dtype) for name, value in weights.items()}
    save_file(stored, out / "model.safetensors", {"format": "pt"})
    config = _read_json(source_hf / "config.json") | {
        "d_model": shape.width,
        "encoder_layers": shape.encoder.layers,
        "decoder_layers": shape.decoder.layers,
        "num_hidden_layers": shape.encoder.layers,
        "encoder_attention_heads": shape.heads,
        "decoder_attention_heads": shape.heads,
        "encoder_ffn_dim": 4 * shape.width,
        "decoder_ffn_dim": 4 * shape.width,
        "dtype": dtype,
    }
    generation = _generation_config(source_hf, shape)
    (out / "generation_config.json").write_text(json.dumps(generation, indent=1))
    (out / "config.json").write_text(json.dumps(config, indent=1))
    return out


def widen_weights(nano: Weights, shape: Shape) -> Weights:
    """Return the weights of `shape` under their Hugging Face names; copied layers share their arrays."""
    wide: Weights = {}
    for name, value in nano.items():
        widened = _widen_array(name, value, shape.factor)
        if ".layers." not in name:
            wide[name] = widened
            continue
        prefix, _, rest = name.partition(".layers.")
        source, _, parameter = rest.partition(".")
        stack = shape.encoder if prefix.endswith("encoder") else shape.decoder
        is_output = "out_proj" in parameter or "fc2" in parameter
        nothing = np.zeros_like(widened) if is_output else widened
        for layer, layer_source in enumerate(stack.sources):
            if layer_source == int(source):
                wide[f"{prefix}.layers.{layer}.{parameter}"] = widened if layer in stack.positions else nothing
    return wide


def _widen_array(name: str, value: np.ndarray, factor: int) -> np.ndarray:
    if name.endswith("conv1.weight"):
        return np.tile(value, (factor, 1, 1))
    if "embed_positions" in name or "embed_tokens" in name:
        return np.tile(value, (1, factor))
    if name.startswith("model.decoder.layer_norm."):
        return np.tile(value, factor) / np.float32(factor)
    if value.ndim == 1:
        return np.tile(value, factor)
    return np.tile(value / np.float32(factor), (factor, factor) + (1,) * (value.ndim - 2))


def _lay_out(weights: Weights, shape: Shape) -> Any:
    """Return a WhisperSpec with the weights as CTranslate2 has them: query, key and value in one matrix."""
    spec: Any = WhisperSpec(shape.encoder.layers, shape.heads, shape.decoder.layers, shape.heads)
    _set_linear(spec.encoder.conv1, weights, "model.encoder.conv1")
    _set_linear(spec.encoder.conv2, weights, "model.encoder.conv2")
    spec.decoder.embeddings.weight = weights["model.decoder.embed_tokens.weight"]
    for stack, name in ((spec.encoder, "model.encoder"), (spec.decoder, "model.decoder")):
        stack.position_encodings.encodings = weights[f"{name}.embed_positions.weight"]
        _set_norm(stack.layer_norm, weights, f"{name}.layer_norm")
        for index, layer in enumerate(stack.layer):
            prefix = f"{name}.layers.{index}"
            attention = f"{prefix}.self_attn"
            _set_norm(layer.self_attention.layer_norm, weights, f"{attention}_layer_norm")
            _set_linear(layer.self_attention.linear[0], weights, *(f"{attention}.{p}_proj" for p in "qkv"))
            _set_linear(layer.self_attention.linear[1], weights, f"{attention}.out_proj")
            if stack is spec.decoder:
                attention = f"{prefix}.encoder_attn"
                _set_norm(layer.attention.layer_norm, weights, f"{attention}_layer_norm")
                _set_linear(layer.attention.linear[0], weights, f"{attention}.q_proj")
                _set_linear(layer.attention.linear[1], weights, f"{attention}.k_proj", f"{attention}.v_proj")
                _set_linear(layer.attention.linear[2], weights, f"{attention}.out_proj")
            _set_norm(layer.ffn.layer_norm, weights, f"{prefix}.final_layer_norm")
            _set_linear(layer.ffn.linear_0, weights, f"{prefix}.fc1")
            _set_linear(layer.ffn.linear_1, weights, f"{prefix}.fc2")
    return spec


def _set_linear(layer: Any, weights: Weights, *names: str) -> None:
    """Set one layer to the given ones on top of each other; the key projection of Whisper has no bias."""
    parts = [weights[f"{name}.weight"] for name in names]
    biases = [
        weights.get(f"{name}.bias", np.zeros(len(part), np.float32)) for name, part in zip(names, parts, strict=True)
    ]
    layer.weight = np.concatenate(parts)
    layer.bias = np.concatenate(biases)


def _set_norm(layer: Any, weights: Weights, name: str) -> None:
    layer.gamma = weights[f"{name}.weight"]
    layer.beta = weights[f"{name}.bias"]


def _store(layer: LayerSpec, name: str, value: object, quantization: str) -> None:
    """Bring one variable of a layer into the form it is stored in, as CTranslate2's converter does.

    int8 has one scale for each output row; only matrices that have a place for a scale are quantized.
    """
    if not isinstance(value, np.ndarray):
        return
    if quantization == "int8" and hasattr(layer, f"{name}_scale"):
        rows = value.reshape(len(value), -1)
        largest = np.abs(rows).max(axis=1)
        largest[largest == 0] = 127
        scale = 127 / largest
        setattr(layer, name, np.rint(rows * scale[:, None]).astype(np.int8).reshape(value.shape))
        setattr(layer, f"{name}_scale", scale)
    elif quantization == "float16":
        setattr(layer, name, value.astype(np.float16))


def _load_weights(source_hf: Path) -> Weights:
    weights = load_file(source_hf / "model.safetensors")
    return {name: value.astype(np.float32) for name, value in weights.items() if name != "proj_out.weight"}


def _generation_config(source_hf: Path, shape: Shape) -> dict[str, Any]:
    config = _read_json(source_hf / "generation_config.json")
    config["alignment_heads"] = [[shape.decoder.positions[layer], head] for layer, head in config["alignment_heads"]]
    return config


def _read_vocabulary(source_hf: Path) -> list[str]:
    """Return every token in the order of its id."""
    tokenizer = _read_json(source_hf / "tokenizer.json")
    ids = tokenizer["model"]["vocab"] | {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    return sorted(ids, key=ids.__getitem__)


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _shape_of(size: str) -> Shape:
    _check_choice("size", size, SHAPES)
    return SHAPES[size]


def _check_choice(what: str, given: str, choices: Collection[str]) -> None:
    if given not in choices:
        raise ValueError(f"unknown {what} {given!r}; use one of {', '.join(choices)}")


def greedy_tokens(model: Whisper, path: Path) -> list[int]:
    """Return the text tokens of the first 30 s of a file, decoded greedily in the language the model detects."""
    samples = next(decode_audio(path))
    features = log_mel(np.pad(samples, (0, N_SAMPLES - samples.size)), n_mels=80)
    encoded = model.encode(StorageView.from_array(features[None]))
    language, _ = model.detect_language(encoded)[0][0]
    prompt = ["<|startoftranscript|>", language, "<|transcribe|>", "<|notimestamps|>"]
    return model.generate(encoded, [prompt], beam_size=1)[0].sequences_ids[0]


def count_differences(source_hf: Path, wide: Path, quantization: str, paths: Sequence[Path]) -> int:
    """Print each transcript that nano and its widened form do not share, and return how many these are."""
    compute_type = "float32" if quantization == "float16" else quantization  # CPUs have no float16
    tokenizer = Tokenizer(wide)
    with tempfile.TemporaryDirectory() as folder:
        narrow_model = Whisper(str(widen(source_hf, "nano", Path(folder), quantization)), compute_type=compute_type)
    wide_model = Whisper(str(wide), compute_type=compute_type)
    different = 0
    for path in paths:
        narrow_text, wide_text = (tokenizer.decode(greedy_tokens(model, path)) for model in (narrow_model, wide_model))
        if narrow_text != wide_text:
            different += 1
            print(f"{path.name}\n  nano {narrow_text}\n  wide {wide_text}")
    return different


def main() -> None:
    """Run from the command line; the exit status is 1 where --check finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=SHAPES)
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--source", type=Path, default=NANO_HF, help="nano in Hugging Face form")
    parser.add_argument("--quantization", choices=QUANTIZATIONS, help="default: int8, or float16 with --hf")
    parser.add_argument("--hf", action="store_true", help="write a Hugging Face folder instead of a CTranslate2 one")
    parser.add_argument("--check", type=Path, nargs="+", metavar="WAV", help="compare transcripts with those of nano")
    args = parser.parse_args()
    if args.hf:
        if args.check or args.quantization == "int8":
            parser.error("--hf takes neither --check nor --quantization int8")
        widen_hf(args.source, args.size, args.out, args.quantization or "float16")
        return
    quantization = args.quantization or "int8"
    widen(args.source, args.size, args.out, quantization)
    if args.check:
        different = count_differences(args.source, args.out, quantization, args.check)
        print(f"{len(args.check) - different} of {len(args.check)} transcripts are the same")
        sys.exit(different > 0)


if __name__ == "__main__":
    main()
