"""The widened weights in the forms that other programs read; nothing is fetched.

Each form is written once, beside the CTranslate2 folder it belongs to. Names of tensors are those of OpenAI's release,
which whisper.cpp uses as well.
"""

import json
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors.numpy import load_file

from auricle.mel_scale import mel_filters
from benchmarks.widen import NANO_HF, SHAPES, Weights, widen_hf

_GGML_MAGIC = 0x67676D6C
_GGML_TYPES = {"float32": 0, "float16": 1}

_WORDS = {
    "model.": "",
    ".layers.": ".blocks.",
    ".self_attn_layer_norm.": ".attn_ln.",
    ".encoder_attn_layer_norm.": ".cross_attn_ln.",
    ".final_layer_norm.": ".mlp_ln.",
    ".self_attn.": ".attn.",
    ".encoder_attn.": ".cross_attn.",
    ".q_proj.": ".query.",
    ".k_proj.": ".key.",
    ".v_proj.": ".value.",
    ".out_proj.": ".out.",
    ".fc1.": ".mlp.0.",
    ".fc2.": ".mlp.2.",
    "encoder.layer_norm.": "encoder.ln_post.",
    "decoder.layer_norm.": "decoder.ln.",
    "embed_positions.weight": "positional_embedding",
    "embed_tokens.": "token_embedding.",
}
"""Hugging Face's words and OpenAI's, in the order to replace them."""


def size_of(model: Path) -> str:
    """Shape of a CTranslate2 folder named ``SIZE-QUANTIZATION``, as the benchmarks name theirs.

    Raises ValueError for another name.
    """
    size = model.name.rpartition("-")[0]
    if size not in SHAPES:
        raise ValueError(f"{model.name!r} is not SIZE-QUANTIZATION with one of the sizes {', '.join(SHAPES)}")
    return size


def hugging_face_folder(model: Path) -> Path:
    """The weights of the CTranslate2 folder ``model`` before quantization, as a Hugging Face folder in float32."""
    size = size_of(model)
    folder = model.parent / f"{size}-hf-float32"
    if not (folder / "config.json").exists():  # it is written last
        widen_hf(NANO_HF, size, folder, "float32")
    return folder


def ggml_file(model: Path) -> Path:
    """The same for whisper.cpp, float16."""
    path = model.parent / f"{size_of(model)}-ggml-float16.bin"
    if not path.exists():
        folder = hugging_face_folder(model)
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            write_ggml(file, folder)
        part.replace(path)
    return path


def openai_dimensions(folder: Path) -> dict[str, int]:
    """The shape of a Hugging Face folder in the words of OpenAI's ``ModelDimensions``, in their order."""
    config = _read_json(folder / "config.json")
    return {
        "n_mels": config["num_mel_bins"],
        "n_audio_ctx": config["max_source_positions"],
        "n_audio_state": config["d_model"],
        "n_audio_head": config["encoder_attention_heads"],
        "n_audio_layer": config["encoder_layers"],
        "n_vocab": config["vocab_size"],
        "n_text_ctx": config["max_target_positions"],
        "n_text_state": config["d_model"],
        "n_text_head": config["decoder_attention_heads"],
        "n_text_layer": config["decoder_layers"],
    }


def openai_weights(folder: Path) -> Weights:
    """The weights of a Hugging Face folder under OpenAI's names."""
    return {openai_name(name): value for name, value in load_file(folder / "model.safetensors").items()}


def openai_name(name: str) -> str:
    """OpenAI's name of a tensor that Hugging Face calls ``name``."""
    for theirs, ours in _WORDS.items():
        name = name.replace(theirs, ours)
    return name


def write_ggml(file: BinaryIO, folder: Path) -> None:
    """Write a Hugging Face folder in whisper.cpp's format, little-endian.

    Numbers are int32: magic; the shape and the number format; the mel filters; the words as length and bytes; each
    tensor as count of dimensions, length of name, number format, dimensions from the last to the first, name, values.
    """
    dimensions = openai_dimensions(folder)
    n_mels = dimensions.pop("n_mels")
    n_vocab = dimensions.pop("n_vocab")
    _write_ints(file, _GGML_MAGIC, n_vocab, *dimensions.values(), n_mels, _GGML_TYPES["float16"])

    filters = np.ascontiguousarray(mel_filters(n_mels), dtype="<f4")
    _write_ints(file, *filters.shape)
    file.write(filters.tobytes())

    words = word_bytes(_read_json(folder / "tokenizer.json")["model"]["vocab"])
    _write_ints(file, len(words))
    for word in words:
        _write_ints(file, len(word))
        file.write(word)

    for name, value in openai_weights(folder).items():
        _write_tensor(file, name, value)


def word_bytes(vocabulary: dict[str, int]) -> list[bytes]:
    """The bytes of each token in order of its id, from the printable characters that byte-level BPE stores them as."""
    byte_of = _bytes_by_character()
    return [bytes(byte_of[character] for character in word) for word in sorted(vocabulary, key=vocabulary.__getitem__)]


def _bytes_by_character() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 stands for itself, the other bytes for the characters from 256 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(plain)]
    return {chr(byte): byte for byte in plain} | {chr(256 + index): byte for index, byte in enumerate(others)}


def _write_tensor(file: BinaryIO, name: str, value: np.ndarray) -> None:
    if name.startswith("encoder.conv") and name.endswith("bias"):
        value = value[:, None]  # added to a row of frames for each channel
    small = value.ndim == 1 or name.endswith((".bias", "positional_embedding"))
    number_format = "float32" if small else "float16"
    encoded = name.encode()
    _write_ints(file, value.ndim, len(encoded), _GGML_TYPES[number_format], *reversed(value.shape))
    file.write(encoded)
    file.write(np.ascontiguousarray(value, dtype=number_format).tobytes())


def _write_ints(file: BinaryIO, *values: int) -> None:
    file.write(struct.pack(f"<{len(values)}i", *values))


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
