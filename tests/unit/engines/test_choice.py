"""Which engine ``auto`` is: pure decisions, from tables and surroundings that are made up."""

from dataclasses import replace
from pathlib import Path

import pytest

from auricle.engines.base import EngineConfig
from auricle.engines.choice import Choice, Surroundings, candidates, choose, look_around
from auricle.engines.speed import BatchCost, Table, Trial
from auricle.errors import EngineNotInstalled, InvalidOption

AUTO = EngineConfig(engine="auto", model_name="base", model_path=Path("base"))
HERE = Surroundings(
    device="cpu", features=("avx2", "avx512_bf16"), installed=("ct2", "openvino", "fake"), readers=("ct2", "openvino")
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
    found = choose(AUTO, BOTH, replace(HERE, readers=("openvino",), features=()))
    assert found.engine == "openvino"
    assert "no other engine can read" in found.reason


def test_files_that_no_installed_engine_reads_say_what_to_install():
    with pytest.raises(EngineNotInstalled, match=r"base .*pip install 'auricle\[openvino\]'"):
        choose(AUTO, None, replace(HERE, readers=("openvino",), installed=("ct2",)))


def test_an_engine_that_is_set_is_taken_with_what_was_measured_of_it():
    found = choose(replace(AUTO, engine="ct2"), BOTH, HERE)
    assert chosen(found) == ("ct2", "int8_float32", 4)
    assert found.reason == "the setting says so"
    assert chosen(choose(replace(AUTO, engine="fake"), BOTH, HERE)) == ("fake", "auto", 0)
    with pytest.raises(InvalidOption, match="whisperer"):
        choose(replace(AUTO, engine="whisperer"), BOTH, HERE)


def test_cuda_is_for_ct2():
    for asked, here in ((replace(AUTO, device="cuda"), HERE), (AUTO, replace(HERE, device="cuda"))):
        found = choose(asked, None, here)
        assert (found.engine, found.reason) == ("ct2", "it runs on CUDA")
    assert choose(replace(AUTO, device="cpu"), None, replace(HERE, device="cuda")).engine == "openvino"


def test_a_model_that_ct2_cannot_read_runs_on_the_cpu_unless_cuda_is_set():
    here = replace(HERE, device="cuda", readers=("openvino",))
    assert choose(AUTO, None, here).engine == "openvino"
    with pytest.raises(InvalidOption, match="CUDA"):
        choose(replace(AUTO, device="cuda"), None, here)


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
    assert settled == replace(config, engine="openvino")


def test_all_formats_of_all_possible_engines_are_candidates():
    def names(config: EngineConfig, here: Surroundings = HERE) -> list[tuple[str, str]]:
        return [(found.engine, found.compute_type) for found in candidates(config, here)]

    assert names(AUTO) == [
        *[("openvino", name) for name in ("int8_bfloat16", "int8_float32", "bfloat16", "float32")],
        *[("ct2", name) for name in ("int8_float32", "int16", "float32")],
    ]
    assert names(replace(AUTO, engine="ct2", compute_type="int16")) == [("ct2", "int16")]
    assert names(replace(AUTO, engine="fake")) == [("fake", "auto")]
    assert ("ct2", "float16") in names(AUTO, replace(HERE, device="cuda"))
    assert {engine for engine, _ in names(AUTO, replace(HERE, readers=("openvino",)))} == {"openvino"}


def test_the_files_of_a_folder_tell_who_can_read_it(tmp_path: Path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert set(look_around(tmp_path).readers) == {"openvino"}
    (tmp_path / "model.bin").write_bytes(b"weights")
    assert set(look_around(tmp_path).readers) == {"ct2", "openvino"}
    assert set(look_around(None).readers) == {"ct2", "openvino"}
    assert {"ct2", "fake"} <= set(look_around(None).installed)
