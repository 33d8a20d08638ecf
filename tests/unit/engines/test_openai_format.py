import io
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.peer_models import openai_dimensions, openai_weights

from auricle.engines.base import EngineConfig
from auricle.engines.checkpoint_files import read_checkpoint
from auricle.engines.folder_format import folder_format, format_of
from auricle.engines.hf_format import read_hf
from auricle.engines.model_folder import folder_problem
from auricle.errors import EngineFailed
from samples import NANO_HF

torch = pytest.importorskip("torch")

from auricle.engines.openai_facts import alignment_heads  # noqa: E402
from auricle.engines.openai_format import read_openai  # noqa: E402

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
    "decoder.1.cross.norm.weight",
    "decoder.1.cross.query.weight",
    "decoder.1.cross.key_value.weight",
    "decoder.1.cross.key_value.bias",
    "decoder.3.cross.out.bias",
]
# What the configuration of openai/whisper-base names on the hub.
SUPPRESSED = (
    "1 2 7 8 9 10 14 25 26 27 28 29 31 58 59 60 61 62 63 90 91 92 93 359 503 522 542 873 893 902 918 922 931 1350 "
    "1853 1982 2460 2627 3246 3253 3268 3536 3846 3961 4183 4667 6585 6647 7273 9061 9383 10428 10929 11938 12033 "
    "12331 12562 13793 14157 14635 15265 15618 16553 16604 18362 18956 20075 21675 22520 26130 26161 26435 28279 "
    "29464 31650 32302 32470 36865 42863 47425 49870 50254 50258 50358 50359 50360 50361 50362"
)

State = dict[str, Any]


def nano(dtype: Any = None) -> State:
    tensors = {name: torch.from_numpy(value) for name, value in openai_weights(NANO_HF).items()}
    if dtype is not None:
        tensors = {name: value.to(dtype) for name, value in tensors.items()}
    return {"dims": openai_dimensions(NANO_HF), "model_state_dict": tensors}


def write(folder: Path, content: object, name: str = "nano.pt") -> Path:
    folder.mkdir(exist_ok=True)
    torch.save(content, folder / name)
    shutil.copyfile(NANO_HF / "tokenizer.json", folder / "tokenizer.json")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("openai"), nano())


def test_the_folder_is_a_model_of_the_third_form(folder: Path):
    assert format_of(folder) == "openai"
    assert folder_problem(folder) is None
    assert folder_format(["model.safetensors", "optimizer.pt"]) == "hf"
    assert folder_format(["base.pt", "small.pt"]) is None


@pytest.mark.parametrize("name", NAMES)
def test_a_tensor_is_that_of_the_hugging_face_form(folder: Path, name: str):
    found, expected = read_checkpoint(folder).tensor(name), read_hf(NANO_HF).tensor(name)
    np.testing.assert_array_equal(found.to_float32(), expected.to_float32())
    assert found.array.dtype == expected.array.dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_other_number_formats_are_read(tmp_path: Path, dtype: Any):
    found = read_openai(write(tmp_path / "other", nano(dtype)))
    for name in NAMES:
        expected = read_hf(NANO_HF).tensor(name).to_float32()
        np.testing.assert_allclose(found.tensor(name).to_float32(), expected, rtol=2**-7)


def test_what_the_file_does_not_say_follows_from_its_sizes_and_vocabulary(folder: Path):
    found, known = read_openai(folder), read_hf(NANO_HF)
    assert found.shape == known.shape
    assert found.language_ids == known.language_ids
    assert found.suppressed == tuple(int(token) for token in SUPPRESSED.split())
    assert found.suppressed_first == (220, 50257)
    assert found.alignment_heads == ((2, 0), (2, 1), (3, 0), (3, 1))


def test_the_alignment_heads_of_openais_models_are_known_by_name(tmp_path: Path):
    assert alignment_heads("turbo") == alignment_heads("large-v3-turbo") != ()
    assert alignment_heads("base") == ((3, 1), (4, 2), (4, 3), (4, 7), (5, 1), (5, 2), (5, 4), (5, 6))
    # Another model under such a name has other sizes.
    other = read_openai(write(tmp_path / "other", nano(), "base.pt"))
    assert other.alignment_heads == ((2, 0), (2, 1), (3, 0), (3, 1))


def test_reading_maps_the_file_and_copies_nothing(folder: Path):
    tensor = read_openai(folder).tensor("decoder.embedding.weight")
    assert not tensor.array.flags.owndata
    assert tensor.array.dtype == np.float16


def test_the_model_is_the_same_from_each_form(folder: Path):
    from auricle.engines.torch_load import load_torch

    config = EngineConfig(engine="torch", model_name="nano", model_path=folder, device="cpu", threads=1)
    ours = load_torch(config).model.state_dict()
    theirs = load_torch(EngineConfig(engine="torch", model_name="nano", model_path=NANO_HF, device="cpu", threads=1))
    for name, values in theirs.model.state_dict().items():
        assert torch.equal(ours[name], values), name


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("this folder must not be made",)


def changed(change: Callable[[State], object]) -> Callable[[Path], None]:
    def write_changed(path: Path) -> None:
        content = nano()
        change(content)
        torch.save(content, path)

    return write_changed


def bytes_of(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def swap_pickle(path: Path) -> None:
    """A file of PyTorch's form whose pickle runs a command."""
    with zipfile.ZipFile(io.BytesIO(bytes_of(nano()))) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = pickle.dumps(Evil()) if name.endswith("data.pkl") else source.read(name)
            target.writestr(name, data)


def huge(content: State) -> None:
    """A vocabulary that is stored as one word."""
    content["dims"]["n_vocab"] = 10**12
    tensors = content["model_state_dict"]
    tensors["decoder.token_embedding.weight"] = torch.zeros(1, 128).expand(10**12, 128)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: path.write_bytes(b"\x80\x02}q\x00."), "cannot be read"),
        (lambda path: path.write_bytes(os.urandom(5000)), "cannot be read"),
        (lambda path: path.write_bytes(pickle.dumps(Evil())), "cannot be read"),
        (lambda path: path.write_bytes(bytes_of(nano())[:5_000_000]), "cannot be read"),
        (lambda path: path.write_bytes(pickle.dumps({"dims": {}})), "cannot be read"),
        (swap_pickle, "cannot be read"),
        (lambda path: torch.save(Evil(), path), "cannot be read"),
        (lambda path: torch.save([1, 2], path), "no model of openai/whisper"),
        (lambda path: torch.save(torch.zeros(3), path), "no model of openai/whisper"),
        (lambda path: torch.save({"dims": {}, "model_state_dict": {}}, path), "no model of openai/whisper"),
        (changed(lambda content: content["dims"].pop("n_vocab")), "n_vocab"),
        (changed(lambda content: content["dims"].update(n_text_head=0)), "not positive"),
        (changed(lambda content: content["dims"].update(n_text_head=3)), "shared by its heads"),
        (changed(lambda content: content["dims"].update(n_audio_state=64)), "different widths"),
        (changed(lambda content: content["dims"].update(n_vocab="many")), "no model of openai/whisper"),
        (changed(lambda content: content["model_state_dict"].update(extra=[1])), "more than tensors"),
        (changed(lambda content: content["dims"].update(n_vocab=10**12)), "token_embedding.weight has the shape"),
        (changed(lambda content: content["dims"].update(n_text_layer=10**9)), "fewer than 1000000000 layers"),
        (changed(huge), "larger than what is stored"),
    ],
)
def test_a_spoiled_file_is_one_clear_error_and_runs_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], object], message: str
):
    monkeypatch.chdir(tmp_path)
    folder = write(tmp_path / "spoiled", {})
    spoil(folder / "nano.pt")
    with pytest.raises(EngineFailed, match=message):
        read_openai(folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spoiled"]


def drop(name: str) -> Callable[[State], object]:
    return lambda content: content["model_state_dict"].pop(name)


def cut(content: State) -> None:
    tensors = content["model_state_dict"]
    tensors["encoder.blocks.0.attn.key.weight"] = torch.zeros(128, 7)


def integers(content: State) -> None:
    content["model_state_dict"]["encoder.conv2.weight"] = torch.zeros(3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("change", "name", "message"),
    [
        (drop("encoder.blocks.0.attn.key.weight"), "encoder.0.attention.qkv.weight", "has no tensor encoder.blocks.0"),
        (drop("decoder.ln.bias"), "decoder.norm.bias", "has no tensor decoder.ln.bias"),
        (cut, "encoder.0.attention.qkv.weight", "do not fit together"),
        (integers, "encoder.conv2.weight", "stored as torch.int64"),
    ],
)
def test_a_tensor_that_cannot_be_used_is_named(
    tmp_path: Path, change: Callable[[State], object], name: str, message: str
):
    content = nano()
    change(content)
    checkpoint = read_openai(write(tmp_path / "spoiled", content))
    with pytest.raises(EngineFailed, match=message):
        checkpoint.tensor(name)
