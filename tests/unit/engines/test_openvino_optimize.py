"""Whether an optimized encoder is used, and what is kept of one."""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from auricle.engines.base import EngineConfig
from auricle.engines.optimized import Figures, find_optimized, processor_features
from auricle.errors import EngineNotInstalled, InvalidOption, UnsupportedOption
from auricle.units import N_FRAMES
from optimized_encoders import COMPUTE_TYPE, keep_bytes, keep_deaf
from samples import NANO, NANO_HF

ov = pytest.importorskip("openvino")

from auricle.engines.openvino_compile import CompiledWhisper, compile_whisper  # noqa: E402
from auricle.engines.openvino_optimize import MOST_ERROR, Windows, explain_processor, find_refusal, optimize_encoder  # noqa: E402

CONFIG = EngineConfig(
    engine="openvino", model_name="nano", model_path=NANO, device="cpu", threads=1, compute_type=COMPUTE_TYPE
)
needs_nncf = pytest.mark.skipif(find_spec("nncf") is None, reason="nncf is not installed")


def hears(model: CompiledWhisper, frames: int = 300) -> bool:
    """Whether what the encoder gives depends on what it is given."""
    compiled = model.full if frames == N_FRAMES else model.short
    request = compiled.encoder.create_infer_request()
    given: list[np.ndarray] = []
    for seed in (0, 1):
        features = np.random.default_rng(seed).standard_normal((1, 80, frames), np.float32)
        request.set_tensor("features", ov.Tensor(features))
        request.infer()
        given.append(request.get_tensor("encoded").data.copy())
    return not np.array_equal(given[0], given[1])


def test_the_encoder_that_was_made_beforehand_is_used_for_windows_of_all_lengths(tmp_path: Path):
    deaf = keep_deaf(tmp_path)
    model = compile_whisper(replace(CONFIG, optimized=deaf.folder))
    assert model.is_optimized
    assert not hears(model)
    assert not hears(model, N_FRAMES)
    plain = compile_whisper(CONFIG)
    assert not plain.is_optimized
    assert hears(plain)


def test_compiled_models_with_it_and_without_are_two(tmp_path: Path):
    deaf = keep_deaf(tmp_path)
    cached = replace(CONFIG, cache_dir=tmp_path / "engines", cache_bytes=10**9)
    for config, is_deaf in ((cached, False), (replace(cached, optimized=deaf.folder), True)):
        first, second = compile_whisper(config), compile_whisper(config)
        assert [first.was_cached, second.was_cached] == [False, True]
        for model in (first, second):
            assert hears(model) is not is_deaf
            assert model.is_optimized is is_deaf
    assert len(list((tmp_path / "engines").glob("*.compiled"))) == 2


def test_it_stays_when_compiled_models_have_to_go(tmp_path: Path):
    from auricle.engines.openvino_cache import CompiledCache

    kept = keep_bytes(tmp_path, content=bytes(1_000_000))
    cache = CompiledCache(folder=tmp_path / "engines", max_bytes=200_000)
    for key in "abc":
        assert cache.write(key, [bytes(100_000)], {})
    assert [path.stem for path in (tmp_path / "engines").glob("*.compiled")] == ["c"]
    assert find_optimized(NANO, tmp_path) == kept


@pytest.mark.parametrize("compute_type", ["float32", "bfloat16", "int8_bfloat16"])
def test_other_compute_types_do_without_it_and_without_a_word(
    tmp_path: Path, compute_type: str, caplog: pytest.LogCaptureFixture
):
    deaf = keep_deaf(tmp_path)
    try:
        model = compile_whisper(replace(CONFIG, optimized=deaf.folder, compute_type=compute_type))
    except InvalidOption:
        pytest.skip("this processor has no bfloat16")
    assert hears(model)
    assert not model.is_optimized
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"format": 1}, "another version"),
        ({"openvino": "2020.1"}, "OpenVINO 2020.1"),
        ({"fingerprint": "x"}, "changed"),
        ({"processor": "x"}, "processor"),
    ],
)
def test_one_that_is_out_of_date_is_left_aside_with_a_warning(
    tmp_path: Path, change: dict, why: str, caplog: pytest.LogCaptureFixture
):
    deaf = keep_deaf(tmp_path, **change)
    model = compile_whisper(replace(CONFIG, optimized=deaf.folder))
    assert hears(model)
    assert why in caplog.text
    assert "auricle models optimize" in caplog.text


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("name", "harm"),
    [("encoder.xml", flip), ("encoder.bin", flip), ("encoder.bin", Path.unlink), ("about.json", Path.unlink)],
)
def test_one_that_is_damaged_is_left_aside_with_a_warning(
    tmp_path: Path, name: str, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
):
    deaf = keep_deaf(tmp_path)
    harm(deaf.folder / name)
    config = replace(CONFIG, optimized=deaf.folder, cache_dir=tmp_path / "engines", cache_bytes=10**9)
    for was_cached in (False, True):
        model = compile_whisper(config)
        assert hears(model)
        assert not model.is_optimized
        assert model.was_cached is was_cached
        assert "is not used" in caplog.text
        caplog.clear()


def test_files_that_are_no_network_are_left_aside_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    model = compile_whisper(replace(CONFIG, optimized=keep_bytes(tmp_path).folder))
    assert hears(model)
    assert "is not used" in caplog.text


def test_one_that_was_removed_meanwhile_is_left_aside_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    assert hears(compile_whisper(replace(CONFIG, optimized=tmp_path / "gone")))
    assert "is not used" in caplog.text


PLAIN = Figures(error=0.02, encode_s=0.1)


def test_a_processor_whose_products_of_8_bits_overflow_is_told_as_the_reason():
    assert "VNNI" in explain_processor("avx avx2 fma")
    assert explain_processor("avx avx2 avx512f avx512_vnni") == explain_processor("avx2 avx_vnni") == ""
    assert explain_processor("asimd asimddp") == explain_processor("") == ""


@pytest.mark.parametrize(
    ("error", "encode_s", "refusal"),
    [
        (0.02, 0.08, ""),
        (0.02 * MOST_ERROR - 1e-9, 0.095, ""),
        (0.001, 0.01, ""),
        (0.02 * MOST_ERROR + 1e-6, 0.08, "error would be 2.50% instead of 2.00%"),
        (float("nan"), 0.08, "error would be nan"),
        (0.02, 0.0953, "95 ms of processor time a window instead of 100"),
        (0.02, 0.2, "200 ms"),
        (0.02, float("nan"), "nan ms"),
    ],
)
def test_only_what_is_faster_and_about_as_exact_is_kept(error: float, encode_s: float, refusal: str):
    found = find_refusal(PLAIN, Figures(error=error, encode_s=encode_s))
    assert refusal in found
    assert bool(refusal) is bool(found)


def noise(n_mels: int, count: int = 3) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.uniform(-1, 1, (n_mels, N_FRAMES)).astype(np.float32) for _ in range(count)]


def no_windows(n_mels: int) -> Windows:
    raise AssertionError("nothing is to be quantized")


def tell_nobody(what: str, done: int, total: int) -> None:
    pass


@pytest.mark.skipif(find_spec("nncf") is not None, reason="nncf is installed")
def test_without_nncf_the_error_says_what_to_install(tmp_path: Path):
    with pytest.raises(EngineNotInstalled, match=r"auricle\[optimize\]"):
        optimize_encoder(CONFIG, no_windows, data_dir=tmp_path, report=tell_nobody)


@needs_nncf
def test_a_compute_type_without_8_bit_weights_is_refused(tmp_path: Path):
    with pytest.raises(UnsupportedOption, match="no 8-bit weights"):
        optimize_encoder(replace(CONFIG, compute_type="float32"), no_windows, data_dir=tmp_path, report=tell_nobody)


@needs_nncf
def test_ranges_that_are_wrong_for_what_comes_are_refused_and_nothing_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    # Calibrated with silence, everything else is out of range.
    quiet = [np.full((80, N_FRAMES), -1.5, np.float32)] * 2

    def make_windows(n_mels: int) -> Windows:
        return Windows(calibration=quiet, held_out=noise(n_mels))

    config = replace(CONFIG, model_path=NANO_HF)
    old = keep_bytes(tmp_path, NANO_HF)
    with pytest.raises(UnsupportedOption, match=r"nano is left as it is: .* error would be"):
        optimize_encoder(config, make_windows, data_dir=tmp_path, report=tell_nobody)
    assert find_optimized(NANO_HF, tmp_path) == old
    assert capsys.readouterr().out == ""


@needs_nncf
def test_what_the_command_makes_is_used_and_about_as_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from typer.testing import CliRunner

    from auricle.cli.main import app

    # How fast it is depends on what else the machine does.
    monkeypatch.setattr("auricle.engines.openvino_optimize.WORTH", 0.0)
    arguments = ["models", "optimize", str(NANO_HF), "--data-dir", str(tmp_path), "--compute-type", COMPUTE_TYPE]
    if explain_processor(processor_features()):
        with pytest.raises(UnsupportedOption, match=r"error would be .*VNNI"):
            CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert find_optimized(NANO_HF, tmp_path) is None
        return
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout == ""
    kept = find_optimized(NANO_HF, tmp_path)
    assert kept is not None
    assert kept.about.compute_type == COMPUTE_TYPE
    assert 0.005 < kept.about.quantized.error <= MOST_ERROR * kept.about.plain.error < 0.05
    assert kept.about.quantized.encode_s > 0
    model = compile_whisper(replace(CONFIG, model_path=NANO_HF, optimized=kept.folder))
    assert model.is_optimized
    assert hears(model)
    assert hears(model, N_FRAMES)
    rounded = [node for node in ov.Core().read_model(kept.network).get_ops() if node.get_type_name() == "FakeQuantize"]
    # At least the inputs of three products in each of the four layers.
    assert len(rounded) >= 3 * 4
