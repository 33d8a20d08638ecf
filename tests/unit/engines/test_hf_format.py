import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from auricle.engines.checkpoint import Tensor
from auricle.engines.ct2_format import read_ct2
from auricle.engines.hf_format import read_hf, read_safetensors
from auricle.errors import EngineFailed
from samples import NANO, NANO_HF

NAMES = [
    "encoder.conv1.weight",
    "encoder.conv2.bias",
    "encoder.positions.weight",
    "encoder.norm.weight",
    "encoder.3.attention.norm.bias",
    "encoder.0.attention.qkv.weight",
    "encoder.0.attention.qkv.bias",
    "encoder.1.attention.out.weight",
    "encoder.2.ffn.norm.weight",
    "encoder.2.ffn.in.weight",
    "encoder.2.ffn.out.bias",
    "decoder.embedding.weight",
    "decoder.positions.weight",
    "decoder.norm.bias",
    "decoder.0.attention.qkv.weight",
    "decoder.1.cross.norm.weight",
    "decoder.1.cross.query.weight",
    "decoder.1.cross.key_value.weight",
    "decoder.1.cross.key_value.bias",
    "decoder.3.cross.out.bias",
    "decoder.3.ffn.out.weight",
]


def copy_of_nano(folder: Path) -> Path:
    shutil.copytree(NANO_HF, folder)
    return folder


def edit_json(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in content.items() if value != "gone"}))


def edit_header(path: Path, change: Callable[[dict], None]) -> None:
    """Change the header of a safetensors file; the data stays."""
    raw = path.read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def test_both_forms_of_one_model_are_the_same_checkpoint():
    ours, theirs = read_hf(NANO_HF), read_ct2(NANO)
    for field in ("shape", "alignment_heads", "language_ids", "suppressed", "suppressed_first"):
        assert getattr(ours, field) == getattr(theirs, field)


@pytest.mark.parametrize("name", NAMES)
def test_a_tensor_has_the_values_that_the_other_form_has_in_eight_bits(name: str):
    exact = read_hf(NANO_HF).tensor(name).to_float32()
    rounded = read_ct2(NANO).tensor(name).to_float32()
    assert exact.shape == rounded.shape
    # A step of eight bits is the largest value of a row over 127.
    assert np.abs(exact - rounded).max() <= np.abs(exact).max() / 127
    assert np.abs(exact).max() > 0


def test_weights_in_several_files_are_those_of_one(tmp_path: Path):
    folder = copy_of_nano(tmp_path / "sharded")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for shard, held in shards.items():
        save_file({name: tensors[name] for name in held}, folder / shard)
    places = {name: shard for shard, held in shards.items() for name in held}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    whole, parts = read_hf(NANO_HF), read_hf(folder)
    for name in NAMES:
        np.testing.assert_array_equal(parts.tensor(name).to_float32(), whole.tensor(name).to_float32())


@pytest.mark.parametrize("kind", ["F32", "BF16"])
def test_other_number_formats_are_read(tmp_path: Path, kind: str):
    folder = copy_of_nano(tmp_path / "other")
    tensors = {name: value.astype(np.float32) for name, value in load_file(folder / "model.safetensors").items()}
    if kind == "BF16":
        tensors = {name: (value.view(np.uint32) >> 16).astype(np.uint16) for name, value in tensors.items()}
    save_file(tensors, folder / "model.safetensors")
    if kind == "BF16":
        # numpy has no bfloat16, so the library wrote these bits as integers.
        def rename(header: dict) -> None:
            for name, entry in header.items():
                if name != "__metadata__":
                    entry["dtype"] = "BF16"

        edit_header(folder / "model.safetensors", rename)
    exact, other = read_hf(NANO_HF), read_hf(folder)
    for name in NAMES:
        expected = exact.tensor(name).to_float32()
        np.testing.assert_allclose(other.tensor(name).to_float32(), expected, rtol=0 if kind == "F32" else 2**-7)


def test_names_without_a_prefix_are_found(tmp_path: Path):
    folder = copy_of_nano(tmp_path / "bare")
    tensors = load_file(folder / "model.safetensors")
    save_file({name.removeprefix("model."): value for name, value in tensors.items()}, folder / "model.safetensors")
    expected = read_hf(NANO_HF).tensor("encoder.0.ffn.in.weight").to_float32()
    np.testing.assert_array_equal(read_hf(folder).tensor("encoder.0.ffn.in.weight").to_float32(), expected)


def test_a_model_without_a_generation_config_gets_the_usual_tokens_and_heads(tmp_path: Path):
    folder = copy_of_nano(tmp_path / "old")
    (folder / "generation_config.json").unlink()
    found = read_hf(folder)
    assert found.language_ids == read_hf(NANO_HF).language_ids
    assert found.alignment_heads == ((2, 0), (2, 1), (3, 0), (3, 1))
    assert found.suppressed_first == (220, 50256)


def drop_tensor(folder: Path) -> None:
    edit_header(folder / "model.safetensors", lambda header: header.pop("model.decoder.embed_tokens.weight") and None)


def quantize(folder: Path) -> None:
    def change(header: dict) -> None:
        header["model.encoder.conv1.weight"]["dtype"] = "U8"

    edit_header(folder / "model.safetensors", change)


def reach_outside(folder: Path) -> None:
    def change(header: dict) -> None:
        header["model.encoder.conv1.weight"]["data_offsets"] = [0, 2**40]

    edit_header(folder / "model.safetensors", change)


def other_folder(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"model.encoder.conv1.weight": "../secret.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "model.safetensors").write_bytes(b""), "damaged"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 100), "damaged"),
        (
            lambda f: (f / "model.safetensors").write_bytes((NANO_HF / "model.safetensors").read_bytes()[:9_000_000]),
            "damaged",
        ),
        (lambda f: (f / "model.safetensors").write_bytes(struct.pack("<Q", 2) + b"[]"), "damaged"),
        (reach_outside, "damaged"),
        (quantize, "is stored as U8"),
        (drop_tensor, "has no tensor decoder.embed_tokens.weight"),
        (other_folder, "files of other folders"),
        (lambda f: (f / "model.safetensors").unlink(), "no weights"),
        (lambda f: (f / "config.json").write_text("[]"), "holds no object"),
        (lambda f: (f / "config.json").write_text("{"), "cannot be read"),
        (lambda f: edit_json(f / "config.json", model_type="bert"), "'bert'"),
        (lambda f: edit_json(f / "config.json", activation_function="relu"), "changed kind"),
        (lambda f: edit_json(f / "config.json", encoder_layers="gone"), "encoder_layers"),
        (lambda f: edit_json(f / "config.json", decoder_attention_heads=3), "heads"),
        (lambda f: edit_json(f / "generation_config.json", alignment_heads=[[1]]), "cannot be used"),
        (lambda f: edit_json(f / "generation_config.json", lang_to_id=7), "cannot be used"),
    ],
)
def test_a_spoiled_folder_is_one_clear_error(tmp_path: Path, change: Callable[[Path], object], message: str):
    folder = copy_of_nano(tmp_path / "spoiled")
    change(folder)
    with pytest.raises(EngineFailed, match=message):
        read_hf(folder)


def test_reading_a_file_maps_it_and_copies_nothing():
    tensor = read_safetensors(NANO_HF / "model.safetensors")["model.decoder.embed_tokens.weight"]
    assert isinstance(tensor, Tensor)
    assert not tensor.array.flags.owndata
    assert tensor.array.dtype == np.float16
