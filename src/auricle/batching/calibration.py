"""Measures engines with a model, each in a process of its own, so that all of its memory comes back."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime

from auricle.batching.replica import BatchNotStarted, NoRoomTogether, Replica, start_replica
from auricle.engines.base import EngineConfig
from auricle.engines.calibrate import least_of, measure
from auricle.engines.speed import BatchCost, Table, Trial
from auricle.errors import EngineError, EngineFailed, EngineOutOfMemory, InvalidOption
from auricle.tokenizer import Tokenizer
from auricle.types import Decoding, Features, ModelInfo, Row, Samples

_NO_LARGER_AFTER_S = 60.0
"""Time of a trial after which no larger batch is begun."""
_LONGEST_S = 180.0
"""Of a trial, start included; what is measured by then counts."""
_HOPELESS = 2.0
"""A format that is slower by this factor, with one row, than another of the same engine is not measured in larger
batches, which cannot make up for it."""
_NEAR = 1.25
"""What is slower than the fastest by less is measured a second time."""
_NO_SECOND_AFTER_S = 300.0
"""Time of all trials after which none is measured again."""

Window = Callable[[ModelInfo], tuple[Features, Samples | None]]
"""Gives a full window of speech as the engine wants it: the features and the samples of a ``Row``."""
Report = Callable[[str], None]
"""Told what is measured next."""


async def calibrate(configs: Sequence[EngineConfig], window: Window, *, beam_size: int, report: Report) -> Table:
    """A table of ``configs``, which differ in engine and compute type only; right where nothing else runs.

    Each is measured once, and those that are near the fastest once more in reverse order, so that a machine that
    becomes slower meanwhile favours none. What cannot be measured is noted with the reason. Raises EngineFailed where
    that is so of all.
    """
    no_second_after = time.monotonic() + _NO_SECOND_AFTER_S
    tokenizer = await asyncio.to_thread(Tokenizer, configs[0].model_path)
    trials: list[Trial] = []

    async def try_one(config: EngineConfig) -> Trial:
        own = (trial for trial in trials if trial.engine == config.engine and trial.costs)
        single = [_single_row_s(trial, beam_size) for trial in own]
        hopeless_s = _HOPELESS * min(single, default=float("inf"))
        return await _try(config, window, tokenizer, beam_size, hopeless_s=hopeless_s)

    for number, config in enumerate(configs, 1):
        report(f"{config.engine} {config.compute_type} ({number} of {len(configs)})")
        trials.append(await try_one(config))
    good = [trial for trial in trials if trial.costs]
    if not good:
        problems = "; ".join(f"{trial.engine} {trial.compute_type}: {trial.problem}" for trial in trials)
        raise EngineFailed(f"nothing can be measured with {configs[0].model_name} here: {problems}")
    limit = _NEAR * min(trial.best(beam_size).row_s for trial in good)
    near = [index for index, trial in enumerate(trials) if trial.costs and trial.best(beam_size).row_s <= limit]
    for number, index in enumerate(reversed(near) if len(near) > 1 else (), 1):
        if time.monotonic() > no_second_after:
            break
        config = configs[index]
        report(f"{config.engine} {config.compute_type} once more ({number} of {len(near)})")
        trials[index] = least_of(trials[index], await try_one(config))
    return Table(measured_at=datetime.now(UTC).isoformat(timespec="seconds"), beam_size=beam_size, trials=tuple(trials))


def _single_row_s(trial: Trial, beam_size: int) -> float:
    return next(cost.row_s for cost in trial.costs if cost.beam_size == beam_size)


async def _try(
    config: EngineConfig, window: Window, tokenizer: Tokenizer, beam_size: int, *, hopeless_s: float
) -> Trial:
    costs: list[BatchCost] = []
    problem = f"it took longer than {_LONGEST_S:.0f} s"
    no_larger_after = time.monotonic() + _NO_LARGER_AFTER_S
    try:
        async with asyncio.timeout(_LONGEST_S):
            replica = await start_replica(config)
            try:
                sizes = _measure(replica, window, tokenizer, beam_size)
                async with aclosing(sizes):
                    async for found in sizes:
                        costs += found
                        # The last is that with the beams of the settings.
                        if found[-1].row_s > hopeless_s or time.monotonic() > no_larger_after:
                            break
            finally:
                await replica.close()
        problem = "its memory does not suffice for one row"
    except TimeoutError:
        pass
    except (InvalidOption, EngineError) as error:
        costs, problem = [], error.message
    except BatchNotStarted:
        costs, problem = [], "its process ended"
    return Trial(
        engine=config.engine,
        compute_type=config.compute_type,
        costs=tuple(costs),
        problem="" if costs else problem,
    )


def _measure(
    replica: Replica, window: Window, tokenizer: Tokenizer, beam_size: int
) -> AsyncGenerator[tuple[BatchCost, ...], None]:
    info = replica.info

    async def decode(rows: Sequence[Row]) -> float:
        try:
            return await replica.decode(rows, _drop)
        except NoRoomTogether as error:
            raise EngineOutOfMemory(str(error)) from error

    return measure(
        decode,
        *window(info),
        prompt=tokenizer.sequence(language="en", task="transcribe", timestamps=True, multilingual=info.is_multilingual),
        eot=tokenizer.eot,
        beam_sizes=sorted({1, beam_size}),
        on_gpu=info.device != "cpu",
    )


def _drop(index: int, decoding: Decoding, seconds: float) -> None:
    del index, decoding, seconds
