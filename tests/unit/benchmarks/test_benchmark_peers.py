"""The other programs of the benchmarks: conversions of the model, the one-lock server, what is not installed."""

import argparse
import io
import os
import struct
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from benchmarks.__main__ import OTHERS, parse_arguments
from benchmarks.peer_models import (
    ggml_file,
    hugging_face_folder,
    openai_dimensions,
    openai_name,
    openai_weights,
    size_of,
    word_bytes,
    write_ggml,
)
from benchmarks.peers import ONE_LOCK, ONE_LOCK_BATCHED, open_peer
from benchmarks.subjects import HTTP, PEERS_PYTHON, ModelSetup, NotInstalled, open_subject
from benchmarks.widen import NANO_HF
from benchmarks.worker import OTHER_ENGINES, Task
from safetensors.numpy import load_file

from auricle.mel_scale import mel_filters
from auricle.tokenizer import Tokenizer
from samples import NANO, SAMPLES

SPOKEN = SAMPLES / "01_en_slt.wav"
SETUP = ModelSetup(path=NANO, threads=1, compute_type="int8")


def _words(text: str) -> list[str]:
    return text.lower().replace(".", "").replace(",", "").split()


def test_tensors_get_the_names_of_openai():
    assert openai_name("model.encoder.conv1.weight") == "encoder.conv1.weight"
    assert openai_name("model.encoder.embed_positions.weight") == "encoder.positional_embedding"
    assert openai_name("model.decoder.embed_tokens.weight") == "decoder.token_embedding.weight"
    assert openai_name("model.encoder.layer_norm.bias") == "encoder.ln_post.bias"
    assert openai_name("model.decoder.layer_norm.weight") == "decoder.ln.weight"
    layer = "model.decoder.layers.11."
    assert openai_name(layer + "self_attn.q_proj.bias") == "decoder.blocks.11.attn.query.bias"
    assert openai_name(layer + "self_attn_layer_norm.bias") == "decoder.blocks.11.attn_ln.bias"
    assert openai_name(layer + "encoder_attn.out_proj.weight") == "decoder.blocks.11.cross_attn.out.weight"
    assert openai_name(layer + "encoder_attn_layer_norm.bias") == "decoder.blocks.11.cross_attn_ln.bias"
    assert openai_name(layer + "fc2.weight") == "decoder.blocks.11.mlp.2.weight"
    assert openai_name(layer + "final_layer_norm.bias") == "decoder.blocks.11.mlp_ln.bias"


def test_every_weight_has_a_name_of_its_own_and_the_shape_its_dimensions_say():
    weights, dimensions = openai_weights(NANO_HF), openai_dimensions(NANO_HF)

    assert len(weights) == len(load_file(NANO_HF / "model.safetensors"))
    assert not [name for name in weights if "layers" in name or "proj" in name or "model." in name]
    vocabulary, width = weights["decoder.token_embedding.weight"].shape
    assert (vocabulary, width) == (dimensions["n_vocab"], dimensions["n_text_state"])
    assert weights["encoder.positional_embedding"].shape == (dimensions["n_audio_ctx"], dimensions["n_audio_state"])


def test_the_words_of_ggml_are_bytes_and_not_the_characters_that_stand_for_them():
    assert word_bytes({"Ġthe": 1, "Ã©": 0, "Ċ": 2}) == [b"\xc3\xa9", b" the", b"\n"]


def test_a_ggml_file_reads_back_as_what_was_written():
    file = io.BytesIO()
    write_ggml(file, NANO_HF)
    file.seek(0)

    def ints(count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}i", file.read(4 * count))

    assert ints(1) == (0x67676D6C,)
    assert ints(11) == (51865, 1500, 128, 2, 4, 448, 128, 2, 4, 80, 1)
    assert ints(2) == (80, 201)
    np.testing.assert_array_equal(np.frombuffer(file.read(4 * 80 * 201), "<f4").reshape(80, 201), mel_filters(80))
    words = [file.read(*ints(1)) for _ in range(*ints(1))]
    assert len(words) == 50257
    tokenizer = Tokenizer(NANO)
    for token in range(1000, 1100):
        assert words[token].decode(errors="replace") == tokenizer.decode([token])

    wanted = openai_weights(NANO_HF)
    while header := file.read(12):
        n_dims, name_length, number_format = struct.unpack("<3i", header)
        shape = ints(n_dims)[::-1]
        name = file.read(name_length).decode()
        dtype = np.dtype(["<f4", "<f2"][number_format])
        value = np.frombuffer(file.read(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(shape)
        np.testing.assert_array_equal(value.squeeze(), wanted.pop(name).astype(dtype).squeeze())
        assert (number_format == 0) == (n_dims == 1 or "conv" in name or "positional" in name) or name.endswith(
            "weight"
        )
    assert not wanted


def test_a_conversion_is_made_once_beside_the_model(tmp_path: Path):
    model = tmp_path / "nano-int8"
    written = ggml_file(model)
    first = written.stat().st_mtime_ns

    assert {path.name for path in tmp_path.iterdir()} == {"nano-hf-float32", "nano-ggml-float16.bin"}
    assert ggml_file(model).stat().st_mtime_ns == first
    assert hugging_face_folder(model) == tmp_path / "nano-hf-float32"


@pytest.mark.parametrize("name", ["nano", "huge-int8", "model"])
def test_a_folder_whose_name_tells_no_size_is_refused(name: str):
    with pytest.raises(ValueError, match=name):
        size_of(Path("models") / name)


def test_peers_are_chosen_by_name():
    assert parse_arguments([]).peers == ()
    assert parse_arguments(["--peers", "all"]).peers == OTHERS
    assert parse_arguments(["--peers", "whisper.cpp, one-lock"]).peers == ("one-lock", "whisper.cpp")
    with pytest.raises((SystemExit, argparse.ArgumentTypeError)):
        parse_arguments(["--peers", "one-lok"])


@pytest.mark.parametrize("name", [ONE_LOCK, ONE_LOCK_BATCHED])
def test_a_server_with_one_lock_transcribes_and_ends(name: str):
    with open_peer(name, SETUP, beam_size=1) as peer:
        url = f"{peer.base_url}/v1/audio/transcriptions"
        answer = httpx.post(url, files={"file": SPOKEN.read_bytes()}, data={"model": "whisper-1"}, timeout=120)
        assert httpx.post(url).status_code == 422
        os.kill(peer.pid, 0)

    assert _words(answer.json()["text"]) == _words(SPOKEN.with_suffix(".txt").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(peer.pid, 0)


def test_a_server_that_cannot_start_says_so(tmp_path: Path):
    with pytest.raises(ValueError, match="two-lock"), open_peer("two-lock", SETUP):
        pass
    nothing = ModelSetup(path=tmp_path, threads=1, compute_type="int8")
    with pytest.raises(RuntimeError, match="exit code"), open_peer(ONE_LOCK, nothing):
        pass


def test_a_repeat_over_http_is_decoded_again():
    with open_subject(HTTP, SETUP) as subject:
        outcomes = [subject.transcribe(Task(path=str(SPOKEN), beam_size=1)) for _ in range(3)]

    assert all((outcome.engine_seconds or 0) > 0 for outcome in outcomes)


@pytest.fixture
def bare_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This interpreter as the peers' one, with none of the other programs."""
    for module in ("whisper", "pywhispercpp", "transformers"):
        (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError({module!r}, name={module!r})")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv(PEERS_PYTHON, sys.executable)


@pytest.mark.usefixtures("bare_python")
@pytest.mark.parametrize("name", OTHER_ENGINES)
def test_a_program_that_is_not_there_is_reported(name: str):
    with pytest.raises(NotInstalled, match=f"{name} is not installed"), open_subject(name, SETUP):
        pass


@pytest.mark.parametrize("name", OTHER_ENGINES)
def test_another_program_transcribes_the_same(name: str, tmp_path: Path):
    setup = ModelSetup(path=tmp_path / "nano-int8", threads=1, compute_type="int8")
    try:
        with open_subject(name, setup) as subject:
            outcome = subject.transcribe(Task(path=str(SPOKEN), beam_size=1))
    except NotInstalled as error:
        pytest.skip(f"{error}; {PEERS_PYTHON} names a Python that has it")

    assert _words(outcome.text) == _words(SPOKEN.with_suffix(".txt").read_text())
