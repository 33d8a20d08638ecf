"""Measures a model's engine in a process of its own, once for each number format."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from auricle.batching.replica import start_replica
from auricle.engines.base import EngineConfig
from auricle.engines.calibrate import BatchCost, Table, Trial, candidates, measure
from auricle.errors import EngineFailed, EngineOutOfMemory, InvalidOption
from auricle.tokenizer import Tokenizer
from auricle.types import Decoding, Row

Report = Callable[[str], None]
"""Told the number format that is measured next."""


async def calibrate(config: EngineConfig, *, beam_size: int, report: Report) -> Table:
    """The table of ``config``'s model; takes seconds to minutes, and is right only where nothing else runs.

    Formats that the device lacks, or the memory does not suffice for, are left out. Raises EngineError where none can
    be measured.
    """
    tokenizer = await asyncio.to_thread(Tokenizer, config.model_path)
    trials: list[Trial] = []
    for compute_type in candidates(config):
        report(compute_type)
        try:
            costs = await _try(replace(config, compute_type=compute_type), tokenizer, beam_size)
        except (InvalidOption, EngineOutOfMemory):
            continue
        if costs:
            trials.append(Trial(compute_type=compute_type, costs=costs))
    if not trials:
        raise EngineFailed(
            f"no number format of {', '.join(candidates(config))} can be measured with {config.model_name} here"
        )
    return Table(measured_at=datetime.now(UTC).isoformat(timespec="seconds"), trials=tuple(trials))


async def _try(config: EngineConfig, tokenizer: Tokenizer, beam_size: int) -> tuple[BatchCost, ...]:
    replica = await start_replica(config)
    try:
        info = replica.info
        prompt = tokenizer.sequence(
            language="en", task="transcribe", timestamps=True, multilingual=info.is_multilingual
        )

        async def decode(rows: Sequence[Row]) -> float:
            return await replica.decode(rows, _drop)

        return await measure(decode, info, prompt=prompt, eot=tokenizer.eot, beam_size=beam_size)
    finally:
        await replica.close()


def _drop(index: int, decoding: Decoding, seconds: float) -> None:
    del index, decoding, seconds
