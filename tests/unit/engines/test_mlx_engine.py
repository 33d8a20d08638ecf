from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from auricle.audio.decode import decode_audio
from auricle.audio.mel import log_mel
from auricle.engines.base import EngineConfig
from auricle.engines.checkpoint import Checkpoint, Shape, Tensor
from auricle.engines.checkpoint_files import read_checkpoint
from auricle.errors import EngineFailed, EngineOutOfMemory, InvalidOption
from auricle.tokenizer import Tokenizer
from auricle.types import DecodingOptions, Row
from samples import NANO, NANO_HF, SAMPLES
from scoring import word_error_rate

mx = pytest.importorskip("mlx.core")

from auricle.engines import mlx_engine  # noqa: E402
from auricle.engines.mlx_engine import MlxRun, choose_device, load, rows_that_fit, settle_compute_type  # noqa: E402

CONFIG = EngineConfig(engine="mlx", model_name="nano", model_path=NANO, device="cpu", threads=1)
TOKENIZER = Tokenizer(NANO)
GB = 10**9


def row_of(sample: str, **options: Any) -> Row:
    prompt = TOKENIZER.sequence(language="en", task="transcribe", timestamps=True, multilingual=True)
    features = log_mel(next(decode_audio(SAMPLES / f"{sample}.wav")), 80)
    # Enough for these recordings; 30 s take seconds on the CPU build.
    asked = DecodingOptions(beam_size=1, context_frames=600, **options)
    return Row(key=sample, features=features, prompt=prompt, options=asked)


def word_errors(config: EngineConfig, *samples: str) -> float:
    engine = load(config)
    texts = [TOKENIZER.decode(decoding.tokens) for decoding in engine.decode([row_of(name) for name in samples])]
    return word_error_rate(
        [((SAMPLES / f"{name}.txt").read_text(), text) for name, text in zip(samples, texts, strict=True)]
    )


@pytest.mark.parametrize(
    ("asked", "device", "settled"),
    [
        ("auto", "mps", ["float16", "float32"]),
        ("auto", "cpu", ["float32"]),
        ("default", "cpu", ["float32"]),
        ("float16", "cpu", ["float16"]),
        ("bfloat16", "mps", ["bfloat16"]),
        ("int8", "mps", ["int8_float16"]),
        ("int8", "cpu", ["int8_float32"]),
        ("int4", "mps", ["int4_float16"]),
        ("int4_bfloat16", "mps", ["int4_bfloat16"]),
    ],
)
def test_a_compute_type_means_what_suits_the_device(asked: str, device: str, settled: list[str]):
    assert settle_compute_type(asked, device) == settled


@pytest.mark.parametrize("asked", ["int3", "int8_", "int8_int8", "float16_int8", "", "_float32"])
def test_an_unknown_compute_type_is_refused_with_those_that_there_are(asked: str):
    with pytest.raises(InvalidOption, match=r"it has float32, .*int4_bfloat16"):
        settle_compute_type(asked, "cpu")


def test_a_device_that_it_does_not_know_is_refused():
    with pytest.raises(InvalidOption, match="not on 'cuda'"):
        choose_device("cuda")


@pytest.mark.skipif(mx.metal.is_available(), reason="there is a GPU")
def test_without_metal_it_is_the_cpu_and_a_gpu_is_refused():
    assert choose_device("auto") == "cpu"
    with pytest.raises(InvalidOption, match="Apple Silicon"):
        choose_device("mps")


@pytest.mark.parametrize("compute_type", ["float32", "float16", "bfloat16", "int8"])
def test_every_number_format_hears_the_samples(compute_type: str):
    assert word_errors(replace(CONFIG, compute_type=compute_type), "01_en_slt", "07_en_human_digits") <= 0.1


def test_it_reads_a_model_in_hugging_face_form():
    assert word_errors(replace(CONFIG, model_path=NANO_HF), "01_en_slt", "07_en_human_digits") <= 0.1


def test_four_bit_weights_hear_most_of_it():
    assert word_errors(replace(CONFIG, compute_type="int4"), "01_en_slt", "07_en_human_digits") <= 0.5


def test_eight_bit_weights_take_less_memory():
    def held(compute_type: str) -> int:
        before = mx.get_active_memory()
        engine = load(replace(CONFIG, compute_type=compute_type))
        assert engine.info.compute_type.startswith(compute_type)
        return mx.get_active_memory() - before

    assert held("int8") < 0.4 * held("float32")


def with_tensors(checkpoint: Checkpoint, change: Callable[[str, np.ndarray], np.ndarray]) -> Checkpoint:
    return replace(checkpoint, tensor=lambda name: Tensor(array=change(name, checkpoint.tensor(name).to_float32())))


def large_at_first(name: str, array: np.ndarray) -> np.ndarray:
    return array * np.float32(1e6) if name == "encoder.conv1.weight" else array


def test_a_number_format_that_overflows_is_refused_when_the_model_is_loaded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mlx_engine, "read_checkpoint", lambda path: with_tensors(read_checkpoint(path), large_at_first))
    with pytest.raises(InvalidOption, match=r"cannot run nano .*float16 \(its numbers overflow\)") as caught:
        load(replace(CONFIG, compute_type="float16"))
    assert caught.value.param == "compute_type"


def test_auto_takes_the_next_number_format_where_one_does_not_work(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mlx_engine, "read_checkpoint", lambda path: with_tensors(read_checkpoint(path), large_at_first))
    monkeypatch.setattr(mlx_engine, "settle_compute_type", lambda asked, device: settle_compute_type(asked, "mps"))
    assert load(CONFIG).info.compute_type == "float32"


def test_weights_that_cannot_be_quantized_in_groups_are_refused(monkeypatch: pytest.MonkeyPatch):
    def narrow(name: str, array: np.ndarray) -> np.ndarray:
        return array[:, :-8] if name == "decoder.embedding.weight" else array

    monkeypatch.setattr(mlx_engine, "read_checkpoint", lambda path: with_tensors(read_checkpoint(path), narrow))
    with pytest.raises(InvalidOption, match="int8_float32"):
        load(replace(CONFIG, compute_type="int8"))


def test_a_folder_without_a_model_is_one_clear_error(tmp_path: Path):
    with pytest.raises(EngineFailed, match="nano cannot be loaded"):
        load(replace(CONFIG, model_path=tmp_path))


@pytest.mark.parametrize("text", ["[malloc] Unable to allocate 8 bytes.", "[metal::malloc] Resource limit exceeded."])
def test_a_step_without_memory_says_so(text: str):
    class Full:
        def make_cache(self) -> list[object]:
            return []

        def step(self, *_: object) -> None:
            raise RuntimeError(text)

    with pytest.raises(EngineOutOfMemory, match="2 rows"):
        MlxRun(cast("Any", Full()), [[]]).step([[1], [2]], [0])


def test_memory_of_windows_that_are_over_is_used_again():
    engine = load(replace(CONFIG, max_batch=1))
    row = row_of("01_en_slt", word_timestamps=True, max_new_tokens=5)
    row = replace(row, options=replace(row.options, context_frames=200))
    held: list[int] = []
    for number in range(12):
        engine.decode([replace(row, key=f"{number}")])
        held.append(mx.get_active_memory())
    assert held[-1] - held[5] < 2**20
    assert mx.get_cache_memory() <= 256 * 2**20
    engine.close()


def shape_of(decoder_layers: int, d_model: int) -> Shape:
    return Shape(
        n_mels=128,
        d_model=d_model,
        encoder_layers=32,
        encoder_heads=20,
        decoder_layers=decoder_layers,
        decoder_heads=20,
        vocabulary=51866,
        text_positions=448,
        audio_positions=1500,
    )


@pytest.mark.parametrize(
    ("decoder_layers", "d_model", "memory", "rows"),
    [(32, 1280, 8 * GB, 2), (32, 1280, 16 * GB, 4), (32, 1280, 64 * GB, 8), (4, 1280, 8 * GB, 8), (32, 1280, GB, 1)],
    ids=["large, 8 GB", "large, 16 GB", "large, 64 GB", "turbo, 8 GB", "large, 1 GB"],
)
def test_a_batch_has_the_rows_that_the_machine_has_memory_for(
    decoder_layers: int, d_model: int, memory: int, rows: int
):
    assert rows_that_fit(shape_of(decoder_layers, d_model), memory, itemsize=2) == rows


def test_a_batch_size_that_is_asked_for_is_taken():
    assert load(replace(CONFIG, max_batch=3)).info.max_batch == 3
