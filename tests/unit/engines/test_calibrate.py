"""What is made of the times of an engine that is made up, and costs exactly what the test says."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from auricle.engines.calibrate import BATCHES, GPU_BATCHES, TYPICAL_TOKENS, least_of, measure
from auricle.engines.speed import BatchCost, Trial
from auricle.errors import EngineOutOfMemory
from auricle.types import Row

ENCODE_S, START_S, TOKEN_S = 0.5, 0.05, 0.01
"""Of a row; a token costs as much for each beam."""


class Arithmetic:
    """Adds up what rows cost, and keeps encodings for ever."""

    def __init__(self, *, most_rows: int = 100) -> None:
        self.known: set[str] = set()
        self.batches: list[Sequence[Row]] = []
        self.most_rows = most_rows

    async def decode(self, rows: Sequence[Row]) -> float:
        self.batches.append(rows)
        if len(rows) > self.most_rows:
            raise EngineOutOfMemory("no room")
        fresh = {row.key for row in rows} - self.known
        self.known |= fresh
        options = rows[0].options
        assert options.max_new_tokens is not None
        return len(fresh) * ENCODE_S + len(rows) * (START_S + options.max_new_tokens * options.beam_size * TOKEN_S)


async def measured(engine: Arithmetic, **asked: Any) -> list[BatchCost]:
    asked = {"beam_sizes": (1, 5), "on_gpu": False} | asked
    sizes = measure(engine.decode, np.zeros((80, 3000), np.float32), prompt=(1, 2), eot=9, **asked)
    return [cost async for found in sizes for cost in found]


@pytest.mark.parametrize(("on_gpu", "sizes"), [(False, BATCHES), (True, GPU_BATCHES)])
async def test_encoder_and_decoder_are_told_apart(on_gpu: bool, sizes: tuple[int, ...]):
    costs = await measured(Arithmetic(), on_gpu=on_gpu)
    assert [(cost.rows, cost.beam_size) for cost in costs] == [(rows, beam) for rows in sizes for beam in (1, 5)]
    for cost in costs:
        assert cost.encode_s == pytest.approx(ENCODE_S)
        assert cost.decode_s == pytest.approx(START_S + TYPICAL_TOKENS * cost.beam_size * TOKEN_S)


async def test_where_rows_are_encoded_one_by_one_few_are_encoded():
    engine = Arithmetic()
    await measured(engine)
    assert len(engine.known) == 3
    whole = Arithmetic()
    await measured(whole, on_gpu=True)
    assert len(whole.known) == 1 + 2 * sum(GPU_BATCHES)


async def test_every_row_has_as_many_tokens_as_are_asked_for():
    engine = Arithmetic()
    await measured(engine)
    assert {row.options.suppress_tokens for rows in engine.batches for row in rows} == {(9,)}
    assert {row.prompt for rows in engine.batches for row in rows} == {(1, 2)}


async def test_the_first_batch_of_a_size_does_not_count():
    class SlowAtFirst(Arithmetic):
        async def decode(self, rows: Sequence[Row]) -> float:
            kinds = {(len(batch), batch[0].options.beam_size) for batch in self.batches}
            return await super().decode(rows) + (0.0 if (len(rows), rows[0].options.beam_size) in kinds else 60.0)

    assert await measured(SlowAtFirst()) == await measured(Arithmetic())


async def test_sizes_that_do_not_fit_are_left_out():
    assert [cost.rows for cost in await measured(Arithmetic(most_rows=2), beam_sizes=(5,))] == [1, 2]
    assert await measured(Arithmetic(most_rows=0)) == []


def test_of_two_trials_the_least_counts():
    def trial(*costs: tuple[int, float, float]) -> Trial:
        found = (BatchCost(rows=r, beam_size=1, encode_s=e, decode_s=d) for r, e, d in costs)
        return Trial(engine="ct2", compute_type="int8", costs=tuple(found))

    first = trial((1, 0.5, 0.02), (2, 0.5, 0.01))
    second = trial((1, 0.6, 0.01))
    assert least_of(first, second) == trial((1, 0.5, 0.01), (2, 0.5, 0.01))
