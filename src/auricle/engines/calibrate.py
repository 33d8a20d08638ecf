"""Measures what an engine costs: rows of speech in batches of several sizes."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from auricle.engines.speed import BatchCost, Trial
from auricle.errors import EngineOutOfMemory
from auricle.types import DecodingOptions, Features, Row, Samples

BATCHES = (1, 2, 4, 8)
GPU_BATCHES = (1, 4, 16, 32)
"""A GPU does a batch in little more than the time of a row."""
TYPICAL_TOKENS = 40
"""Of a window of speech that is about half full."""
_REPEATS = 2

Decode = Callable[[Sequence[Row]], Awaitable[float]]
"""Has a batch decoded; gives the seconds in the engine. Raises EngineError."""


async def measure(
    decode: Decode,
    features: Features,
    samples: Samples | None = None,
    *,
    prompt: Sequence[int],
    eot: int,
    beam_sizes: Sequence[int],
    on_gpu: bool,
) -> AsyncGenerator[tuple[BatchCost, ...], None]:
    """Costs of one size of batch after the other, a cost a beam size, up to the one that does not fit into the memory.

    ``features`` and ``samples`` are a full window of speech, as ``Row`` has them. The end token ``eot`` is forbidden,
    so that every row has as many tokens as are asked for. What the encoder takes is told by windows that the engine
    does not know yet, since engines keep encodings; on a CPU, where rows are encoded one by one, that is done once.
    """
    fresh_keys = 0

    def rows(count: int, fresh: int, tokens: int, beam_size: int) -> list[Row]:
        """``count`` rows, the last ``fresh`` of which are windows that were never seen."""
        nonlocal fresh_keys
        options = DecodingOptions(beam_size=beam_size, max_new_tokens=tokens, suppress_tokens=(eot,))
        keys = ["calibration"] * (count - fresh) + [f"calibration:{fresh_keys + index}" for index in range(fresh)]
        fresh_keys += fresh
        return [Row(key=key, features=features, samples=samples, prompt=tuple(prompt), options=options) for key in keys]

    async def least(count: int, fresh: int, tokens: int, beam_size: int) -> float:
        return min([await decode(rows(count, fresh, tokens, beam_size)) for _ in range(_REPEATS)])

    encode_s = None
    with suppress(EngineOutOfMemory):
        for count in GPU_BATCHES if on_gpu else BATCHES:
            costs: list[BatchCost] = []
            for beam_size in beam_sizes:
                # What is done once for each size: memory, threads, kernels.
                await decode(rows(count, 0, 2, beam_size))
                if encode_s is None or (on_gpu and not costs):
                    fresh = count if on_gpu else 1
                    # One token, so that little but the encoder is in the difference.
                    known_s = await least(count, 0, 1, beam_size)
                    encode_s = max(await least(count, fresh, 1, beam_size) - known_s, 0.0) / fresh
                decode_s = await least(count, 0, TYPICAL_TOKENS, beam_size) / count
                costs.append(BatchCost(rows=count, beam_size=beam_size, encode_s=encode_s, decode_s=decode_s))
            yield tuple(costs)


def least_of(first: Trial, second: Trial) -> Trial:
    """Two trials of the same as one: the least is what it costs, the rest is what disturbed it."""
    again = {(cost.rows, cost.beam_size): cost for cost in second.costs}
    costs = [_least_cost(cost, again.get((cost.rows, cost.beam_size), cost)) for cost in first.costs]
    return replace(first, costs=tuple(costs))


def _least_cost(first: BatchCost, second: BatchCost) -> BatchCost:
    return replace(first, encode_s=min(first.encode_s, second.encode_s), decode_s=min(first.decode_s, second.decode_s))
