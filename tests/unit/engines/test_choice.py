"""Which engine ``auto`` is: pure decisions, from tables and surroundings that are made up."""

from dataclasses import replace
from pathlib import Path

import pytest

from auricle.engines.base import EngineConfig
from auricle.engines.choice import Choice, Surroundings, candidates, choose, look_around
from auricle.engines.speed import BatchCost, Table, Trial
from auricle.errors import EngineNotInstalled, InvalidOption

AUTO = EngineConfig(engine="auto", model_name="base", model_path=Path("base"))
READERS = ("ct2", "openvino", "torch", "mlx")
NO_GPU = {"cuda": ("ct2",), "mps": ()}
"""A Linux machine with the base installation."""
HERE = Surroundings(
    device="cpu",
    features=("avx2", "avx512_bf16"),
    installed=("ct2", "openvino", "fake"),
    builds=NO_GPU,
    readers=READERS,
)


def trial(engine: str, compute_type: str, *, beam_size: int = 5, **row_s: float) -> Trial:
    """``b4=0.5`` is half a second a row in batches of 4."""
    costs = tuple(
        BatchCost(rows=int(name[1:]), beam_size=beam_size, encode_s=seconds, decode_s=0.0)
        for name, seconds in row_s.items()
    )
    return Trial(engine=engine, compute_type=compute_type, costs=costs)


def failed(engine: str, compute_type: str) -> Trial:
    return Trial(engine=engine, compute_type=compute_type, problem="it crashed")


def table(*trials: Trial) -> Table:
    return Table(measured_at="2026-01-02T03:04:05+00:00", beam_size=5, trials=trials)


def chosen(found: Choice) -> tuple[str, str, int]:
    return found.engine, found.compute_type, found.max_batch


BOTH = table(trial("openvino", "int8_bfloat16", b1=0.3, b4=0.2), trial("ct2", "int8_float32", b1=0.6, b4=0.5))


def test_without_a_table_openvino_is_taken_where_the_processor_has_bfloat16():
    found = choose(AUTO, None, HERE)
    assert chosen(found) == ("openvino", "auto", 0)
    assert "not measured" in found.reason
    assert not found.is_measured


def test_without_a_table_other_processors_keep_ct2():
    for features in (("avx2", "avx512_vnni"), ("asimd", "i8mm"), ()):
        assert choose(AUTO, None, replace(HERE, features=features)).engine == "ct2"


def test_the_faster_engine_of_the_table_is_taken_with_its_format_and_batch():
    found = choose(AUTO, BOTH, HERE)
    assert chosen(found) == ("openvino", "int8_bfloat16", 4)
    assert found.reason == "measured: openvino 200 ms a window, ct2 500 ms a window"
    assert found.is_measured
    slower = table(trial("openvino", "int8_bfloat16", b1=0.9), trial("ct2", "int8_float32", b1=0.6, b4=0.5))
    assert chosen(choose(AUTO, slower, HERE)) == ("ct2", "int8_float32", 4)


def test_the_processor_does_not_matter_where_there_is_a_table():
    assert choose(AUTO, BOTH, replace(HERE, features=())).engine == "openvino"


def test_an_engine_that_failed_in_the_measurement_is_not_taken():
    measured = table(failed("openvino", "int8_bfloat16"), trial("ct2", "int8_float32", b1=0.6))
    found = choose(AUTO, measured, HERE)
    assert found.engine == "ct2"
    assert "openvino failed" in found.reason


def test_a_table_of_failures_is_as_good_as_none():
    measured = table(failed("openvino", "int8_bfloat16"), failed("ct2", "int8_float32"))
    assert not choose(AUTO, measured, HERE).is_measured


def test_an_engine_that_is_not_installed_is_not_taken_whatever_the_table_says():
    found = choose(AUTO, BOTH, replace(HERE, installed=("ct2", "fake")))
    assert found.engine == "ct2"
    assert "auricle[openvino]" in found.reason


def test_files_that_only_one_engine_reads_decide():
    found = choose(AUTO, BOTH, replace(HERE, readers=("openvino", "torch", "mlx"), features=()))
    assert found.engine == "openvino"
    assert "no faster engine can read" in found.reason


def test_files_that_no_installed_engine_reads_say_what_to_install():
    here = replace(HERE, readers=("openvino", "torch"), installed=("ct2",))
    with pytest.raises(EngineNotInstalled, match=r"base .*pip install 'auricle\[openvino\]'.*'auricle\[torch\]'"):
        choose(AUTO, None, here)


def test_an_engine_that_is_set_is_taken_with_what_was_measured_of_it():
    found = choose(replace(AUTO, engine="ct2"), BOTH, HERE)
    assert chosen(found) == ("ct2", "int8_float32", 4)
    assert found.reason == "the setting says so"
    assert chosen(choose(replace(AUTO, engine="fake"), BOTH, HERE)) == ("fake", "auto", 0)
    with pytest.raises(InvalidOption, match="whisperer"):
        choose(replace(AUTO, engine="whisperer"), BOTH, HERE)


H200 = replace(
    HERE, device="cuda", installed=("ct2", "openvino", "torch", "fake"), builds={"cuda": ("ct2", "torch"), "mps": ()}
)
CUDA = replace(HERE, device="cuda")
"""With CTranslate2 only."""
MAC = replace(
    HERE,
    device="mps",
    features=(),
    installed=("ct2", "mlx", "openvino", "torch", "fake"),
    builds={"cuda": (), "mps": ("mlx", "torch")},
)
BARE_MAC = replace(MAC, installed=("ct2", "fake"), builds={"cuda": (), "mps": ()})


@pytest.mark.parametrize(
    ("here", "engine", "device", "reason"),
    [
        (H200, "torch", "cuda", "taken to be faster than 'ct2' on CUDA: its rows join and leave"),
        (
            replace(H200, installed=("torch", "fake"), builds={"cuda": ("torch",), "mps": ()}),
            "torch",
            "cuda",
            "it runs on CUDA",
        ),
        (CUDA, "ct2", "cuda", "it runs on CUDA; 'torch' is not installed (pip install 'auricle[torch]')"),
        (replace(CUDA, installed=("ct2", "torch")), "ct2", "cuda", "the installed 'torch' is not built for CUDA"),
        (replace(H200, readers=("openvino", "torch")), "torch", "cuda", "it runs on CUDA"),
        (replace(CUDA, readers=("openvino", "torch")), "openvino", "cpu", "CUDA is not used: 'torch' is not installed"),
        (replace(CUDA, builds={"cuda": (), "mps": ()}, features=()), "ct2", "cpu", "'ct2' is not built for CUDA"),
        (MAC, "mlx", "mps", "taken to be faster than 'torch' on Apple's GPU"),
        (replace(MAC, builds={"cuda": (), "mps": ("mlx",)}), "mlx", "mps", "it runs on Apple's GPU"),
        (replace(MAC, builds={"cuda": (), "mps": ("torch",)}, installed=("torch",)), "torch", "mps", "auricle[mlx]"),
        (
            BARE_MAC,
            "ct2",
            "cpu",
            "Apple's GPU is not used: 'mlx' is not installed (pip install 'auricle[mlx]')",
        ),
        (HERE, "openvino", "cpu", "not measured"),
        (replace(HERE, installed=("ct2", "torch", "mlx")), "ct2", "cpu", "'openvino' is not installed"),
        (replace(HERE, installed=("ct2", "torch"), readers=("openvino", "torch", "mlx")), "torch", "cpu", "can read"),
        (replace(HERE, installed=("mlx", "torch"), readers=("torch",)), "torch", "cpu", "it is installed"),
    ],
)
def test_the_machine_decides_where_nothing_was_measured(here: Surroundings, engine: str, device: str, reason: str):
    found = choose(AUTO, None, here)
    assert (found.engine, found.device) == (engine, device)
    assert reason in found.reason
    assert not found.is_measured


def test_on_a_gpu_the_table_decides_by_the_beams_of_the_settings():
    measured = table(trial("torch", "bfloat16", b1=0.1, b16=0.03), trial("ct2", "float16", b1=0.1, b16=0.01))
    found = choose(AUTO, measured, H200)
    assert chosen(found) == ("ct2", "float16", 16)
    assert found.reason == "measured: torch 30 ms a window, ct2 10 ms a window"


def test_an_engine_whose_rows_join_takes_as_many_as_there_is_memory_for_whatever_was_measured():
    measured = table(trial("torch", "float16", b1=0.1, b16=0.01), trial("ct2", "float16", b1=0.1, b16=0.03))
    assert chosen(choose(AUTO, measured, H200)) == ("torch", "float16", 0)
    assert choose(replace(AUTO, max_batch=24), measured, H200).max_batch == 24


def test_a_format_with_more_digits_is_the_more_exact_one():
    equal = table(trial("torch", "bfloat16", b1=0.100), trial("torch", "float16", b1=0.101))
    assert choose(AUTO, equal, H200).compute_type == "float16"


def test_a_device_that_is_set_is_not_left_for_another():
    assert choose(replace(AUTO, device="cpu"), None, H200).engine == "openvino"
    assert choose(replace(AUTO, device="cpu"), None, MAC).device == "cpu"
    assert choose(replace(AUTO, device="cuda"), None, HERE).engine == "ct2"
    with pytest.raises(EngineNotInstalled, match=r"on CUDA: 'torch' is not installed \(pip .*\[torch\]'\)"):
        choose(replace(AUTO, device="cuda"), None, replace(HERE, readers=("openvino", "torch")))
    with pytest.raises(EngineNotInstalled, match=r"Apple's GPU: 'mlx' is not installed.*'torch' is not"):
        choose(replace(AUTO, device="mps"), None, BARE_MAC)


def test_an_engine_that_is_set_runs_on_the_gpu_that_it_is_built_for():
    def device(engine: str, here: Surroundings) -> str:
        return choose(replace(AUTO, engine=engine), None, here).device

    assert [device(engine, H200) for engine in ("torch", "ct2", "openvino", "fake")] == ["cuda", "cuda", "cpu", "cpu"]
    assert [device(engine, MAC) for engine in ("mlx", "torch", "ct2")] == ["mps", "mps", "cpu"]
    assert choose(replace(AUTO, engine="torch", device="cuda"), None, HERE).device == "cuda"


def test_an_engine_gets_its_own_options_only_by_their_own_names():
    asked = replace(AUTO, options={"torch_quantize": "int8", "step_delay_s": "1"})
    assert choose(asked, None, H200).apply(asked).options == {"quantize": "int8", "step_delay_s": "1"}
    assert choose(asked, None, HERE).apply(asked).options == {"step_delay_s": "1"}
    assert {tuple(found.options) for found in candidates(asked, H200) if found.engine == "ct2"} == {("step_delay_s",)}


def test_a_compute_type_that_one_engine_has_decides():
    found = choose(replace(AUTO, compute_type="int16"), BOTH, HERE)
    assert chosen(found) == ("ct2", "int16", 0)
    assert "int16" in found.reason


def test_eight_bit_weights_leave_open_what_the_rest_is_computed_in():
    found = choose(replace(AUTO, compute_type="int8"), BOTH, HERE)
    assert chosen(found) == ("openvino", "int8_bfloat16", 4)
    assert chosen(choose(replace(AUTO, compute_type="int8_float32"), BOTH, HERE)) == ("ct2", "int8_float32", 4)


def test_a_less_exact_format_must_be_clearly_faster():
    clearly = table(trial("ct2", "float32", b1=1.0), trial("openvino", "int8_bfloat16", b1=0.5))
    hardly = table(trial("ct2", "float32", b1=1.0), trial("openvino", "int8_bfloat16", b1=0.97))
    assert choose(AUTO, clearly, HERE).compute_type == "int8_bfloat16"
    assert choose(AUTO, hardly, HERE).compute_type == "float32"


def test_among_equally_exact_formats_the_faster_is_taken_however_close():
    close = table(trial("openvino", "int8_bfloat16", b1=1.0), trial("ct2", "int8_float32", b1=0.99))
    assert choose(AUTO, close, HERE).engine == "ct2"


def test_what_is_set_by_hand_stays():
    config = replace(AUTO, compute_type="int8_bfloat16", max_batch=7, threads=3)
    settled = choose(config, BOTH, HERE).apply(config)
    assert settled == replace(config, engine="openvino", device="cpu")


def test_all_formats_of_all_possible_engines_are_candidates():
    def names(config: EngineConfig, here: Surroundings = HERE) -> list[tuple[str, str]]:
        return [(found.engine, found.compute_type) for found in candidates(config, here)]

    assert names(AUTO) == [
        *[("openvino", name) for name in ("int8_bfloat16", "int8_float32", "bfloat16", "float32")],
        *[("ct2", name) for name in ("int8_float32", "int16", "float32")],
    ]
    assert names(replace(AUTO, engine="ct2", compute_type="int16")) == [("ct2", "int16")]
    assert names(replace(AUTO, engine="fake")) == [("fake", "auto")]
    assert names(AUTO, H200)[:2] == [("torch", "float16"), ("torch", "bfloat16")]
    assert {engine for engine, _ in names(AUTO, H200)} == {"torch", "ct2"}
    assert ("ct2", "float16") in names(AUTO, CUDA)
    assert {engine for engine, _ in names(AUTO, MAC)} == {"mlx", "torch"}
    assert {found.device for found in candidates(AUTO, MAC)} == {"mps"}
    assert {engine for engine, _ in names(AUTO, replace(HERE, readers=("openvino",)))} == {"openvino"}


def test_the_files_of_a_folder_tell_who_can_read_it(tmp_path: Path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert set(look_around(tmp_path).readers) == {"openvino", "torch", "mlx"}
    (tmp_path / "model.bin").write_bytes(b"weights")
    assert set(look_around(tmp_path).readers) == set(READERS)
    assert set(look_around(None).readers) == set(READERS)
    assert {"ct2", "fake"} <= set(look_around(None).installed)
