"""What the benchmarks of the engines count and compute."""

import pytest
from benchmarks.engine_worker import Cost
from benchmarks.engines import BATCHES, BEAMS, Costs, _collect
from benchmarks.model_costs import ModelCosts

from model_shapes import BASE


def test_a_window_of_base_is_87_gflop_of_which_28_are_attention():
    costs = ModelCosts(shape=BASE)
    assert costs.encoder / 1e9 == pytest.approx(87.4, abs=0.1)
    assert costs.encoder_attention / 1e9 == pytest.approx(27.6, abs=0.1)


def test_a_step_of_base_reads_49_million_weights_and_9_million_values_a_window():
    costs = ModelCosts(shape=BASE)
    assert costs.decoder_weights / 1e6 == pytest.approx(48.6, abs=0.1)
    assert costs.shape.cross_values / 1e6 == pytest.approx(9.2, abs=0.1)


def test_what_takes_as_long_as_the_machine_must_take_has_a_share_of_one():
    pytest.importorskip("openvino")
    from benchmarks.roofline import shares

    costs, rates = ModelCosts(shape=BASE), {"float32": [100.0, 200.0], "bfloat16": [200.0], "8 bits": [400.0]}
    least_s = costs.encoder_products / 400e9 + (costs.encoder - costs.encoder_products) / 200e9
    token_s = (costs.decoder_weights + 8 * 2 * BASE.cross_values) / 30e9 / 8
    # Processor time of two threads that work all the time.
    measured = Costs(encode=[2 * least_s], token={(rows, 1): [2 * token_s] for rows in BATCHES}, words=[])
    found = {result.measure: result for result in shares("a", 2, costs, measured, rates, bandwidth=30, threads=2)}
    assert found["encoder, a window: least time / time"].figure.median == pytest.approx(1)
    assert found["decoder, a step of 8 rows, greedy: least time / time"].figure.median == pytest.approx(1)


def test_a_token_is_told_by_two_lengths_and_the_encoder_by_a_row_that_comes_again():
    def cost(seconds: float) -> Cost:
        return Cost(seconds=seconds, cpu_seconds=2 * seconds)

    turn = {"fresh": cost(0.5), "again": cost(0.2), "words": cost(0.4), "no words": cost(0.3)}
    for rows in BATCHES:
        for beam_size in BEAMS:
            turn |= {f"{rows} {beam_size} 4": cost(0.1), f"{rows} {beam_size} 28": cost(0.1 + 0.24 * rows)}
    wall, processor = (_collect([turn], attribute) for attribute in ("seconds", "cpu_seconds"))
    assert wall.encode == pytest.approx([0.3])
    assert wall.words == pytest.approx([0.1])
    assert wall.token[8, 5] == pytest.approx([0.01])
    assert processor.token[4, 1] == pytest.approx([0.02])
