import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auricle.engines.base import EngineConfig
from auricle.errors import EngineFailed, InvalidOption
from auricle.units import N_FRAMES
from samples import NANO, NANO_HF, SAMPLES

ov = pytest.importorskip("openvino")

from auricle.engines.openvino_compile import (  # noqa: E402
    CompiledWhisper,
    choose_compute_type,
    compile_whisper,
    graph_builder,
    with_hints,
)
from auricle.engines.openvino_tensors import to_float32  # noqa: E402

CONFIG = EngineConfig(engine="openvino", model_name="nano", model_path=NANO, device="cpu", threads=1)


def cached_in(folder: Path, **changes: object) -> EngineConfig:
    return replace(CONFIG, cache_dir=folder / "engines", cache_bytes=10**9, **changes)


def encode(model: CompiledWhisper, frames: int = 300) -> list[np.ndarray]:
    """Keys and values of the first layer, of noise."""
    compiled = model.full if frames == N_FRAMES else model.short
    request = compiled.encoder.create_infer_request()
    features = np.random.default_rng(0).standard_normal((1, 80, frames), np.float32)
    request.set_tensor("features", ov.Tensor(features))
    request.infer()
    projection = compiled.projection.create_infer_request()
    projection.set_tensor("encoded", request.get_tensor("encoded"))
    projection.infer()
    return [to_float32(projection.get_tensor(name)).copy() for name in ("cross_k0", "cross_v0")]


@pytest.mark.parametrize(
    ("asked", "capabilities", "settled"),
    [
        ("auto", ["FP32", "INT8", "BF16"], "int8_bfloat16"),
        ("auto", ["FP32", "INT8"], "int8_float32"),
        ("auto", ["FP32", "FP16"], "int8_float32"),
        ("default", ["FP32"], "int8_float32"),
        ("int8", ["BF16"], "int8_bfloat16"),
        ("int8_float32", ["BF16"], "int8_float32"),
        ("bfloat16", ["BF16"], "bfloat16"),
        ("float32", ["BF16"], "float32"),
        ("float32", [], "float32"),
    ],
)
def test_bfloat16_is_used_where_the_processor_says_that_it_has_it(asked, capabilities, settled):
    assert choose_compute_type(asked, capabilities) == settled


@pytest.mark.parametrize("asked", ["bfloat16", "int8_bfloat16"])
def test_bfloat16_is_refused_where_there_is_none(asked: str):
    with pytest.raises(InvalidOption, match="no bfloat16"):
        choose_compute_type(asked, ["FP32", "INT8"])


def test_an_unknown_compute_type_is_refused_with_those_that_there_are():
    with pytest.raises(InvalidOption, match=r"'int3'; it has int8, .*float32"):
        choose_compute_type("int3", ["BF16"])


def test_the_second_start_takes_what_the_first_compiled_and_answers_the_same(tmp_path: Path):
    alone = compile_whisper(CONFIG)
    first = compile_whisper(cached_in(tmp_path))
    second = compile_whisper(cached_in(tmp_path))
    assert [alone.was_cached, first.was_cached, second.was_cached] == [False, False, True]
    assert len(list((tmp_path / "engines").iterdir())) == 1
    expected = encode(alone)
    for model in (first, second):
        for found, wanted in zip(encode(model), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_each_compute_type_has_a_compiled_model_of_its_own(tmp_path: Path):
    compile_whisper(cached_in(tmp_path, compute_type="float32"))
    assert not compile_whisper(cached_in(tmp_path, compute_type="int8_float32")).was_cached
    assert not compile_whisper(cached_in(tmp_path, compute_type="float32", threads=2)).was_cached
    assert compile_whisper(cached_in(tmp_path, compute_type="float32")).was_cached
    assert len(list((tmp_path / "engines").iterdir())) == 3


def test_a_damaged_compiled_model_is_made_anew(tmp_path: Path):
    compile_whisper(cached_in(tmp_path))
    (path,) = (tmp_path / "engines").iterdir()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(bytes(byte ^ 0xFF for byte in path.read_bytes()[size // 2 : size // 2 + 64]))
    assert not compile_whisper(cached_in(tmp_path)).was_cached
    assert compile_whisper(cached_in(tmp_path)).was_cached


def test_a_compiled_model_that_openvino_does_not_take_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    from auricle.engines.openvino_cache import CompiledCache

    compile_whisper(cached_in(tmp_path))
    (path,) = (tmp_path / "engines").iterdir()
    cache = CompiledCache(folder=tmp_path / "engines", max_bytes=10**9)
    assert cache.write(path.stem, [b"no model" * 1000] * 2, {})
    assert not compile_whisper(cached_in(tmp_path)).was_cached
    assert compile_whisper(cached_in(tmp_path)).was_cached


def test_a_folder_that_cannot_be_written_does_not_keep_a_model_from_starting(tmp_path: Path):
    (tmp_path / "engines").write_text("a file where the folder should be")
    assert not compile_whisper(cached_in(tmp_path)).was_cached


def test_a_processor_of_2013_hears_the_same(tmp_path: Path):
    # oneDNN then leaves later instructions alone; its own variable, for tests.
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "AURICLE_DATA_DIR": str(tmp_path)}
    settings = ["--model", "nano", "--engine", "openvino", "--compute-type", "int8_float32"]
    command = [sys.executable, "-m", "auricle", "transcribe", *settings, str(SAMPLES / "01_en_slt.wav")]
    for _ in ("compiled", "cached"):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip().lower() == (SAMPLES / "01_en_slt.txt").read_text().strip().lower()
    assert len(list((tmp_path / "engines").iterdir())) == 1


def test_without_bfloat16_the_keys_are_float32_and_nearly_those_of_exact_weights():
    exact = encode(compile_whisper(replace(CONFIG, compute_type="float32")))
    model = compile_whisper(replace(CONFIG, compute_type="int8_float32"))
    assert model.full.projection.output("cross_k0").get_element_type() == ov.Type.f32
    for found, wanted in zip(encode(model), exact, strict=True):
        assert np.linalg.norm(found - wanted) <= 0.05 * np.linalg.norm(wanted)


def test_the_encoder_of_full_windows_says_what_the_one_of_any_length_says():
    model = compile_whisper(replace(CONFIG, compute_type="float32"))
    full = encode(model, N_FRAMES)
    for found, wanted in zip(encode(replace(model, full=model.short), N_FRAMES), full, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-3)


@pytest.mark.parametrize("compute_type", ["float32", "int8"])
def test_encoder_and_projection_compute_what_the_whole_encoder_computes(compute_type: str):
    model = compile_whisper(replace(CONFIG, compute_type=compute_type))
    whole = graph_builder(model.checkpoint, model.compute_type).build_encoder()
    request = with_hints(
        model.compute_type, 1, lambda hints: ov.Core().compile_model(whole, "CPU", hints)
    ).create_infer_request()
    request.set_tensor("features", ov.Tensor(np.random.default_rng(0).standard_normal((1, 80, 300), np.float32)))
    request.infer()
    for name, found in zip(("cross_k0", "cross_v0"), encode(model), strict=True):
        assert np.array_equal(found, to_float32(request.get_tensor(name)))


def test_both_forms_of_a_model_compile_to_nearly_the_same():
    theirs = encode(compile_whisper(replace(CONFIG, compute_type="float32")))
    ours = encode(compile_whisper(replace(CONFIG, compute_type="float32", model_path=NANO_HF)))
    for found, wanted in zip(ours, theirs, strict=True):
        # The CTranslate2 form has eight bits a weight.
        assert 0 < np.linalg.norm(found - wanted) <= 0.05 * np.linalg.norm(wanted)


def test_a_folder_without_a_model_is_one_clear_error(tmp_path: Path):
    with pytest.raises(EngineFailed, match="nano cannot be loaded"):
        compile_whisper(replace(CONFIG, model_path=tmp_path))
