"""How full the slots of an engine stay whose rows join and leave, while rows of every kind wait.

It counts by the engine's own steps, not by time, so that a busy machine changes little: of the steps from the first
answer until nothing waits any more, the share of slots that were in use.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from auricle.audio.mel import log_mel
from auricle.batching.metrics import Metrics
from auricle.batching.replica import start_replica
from auricle.batching.scheduler import Scheduler
from auricle.engines.base import EngineConfig
from auricle.tokenizer import Tokenizer
from auricle.types import DecodingOptions, ModelInfo, RequestInfo, Row, Samples
from auricle.units import SAMPLE_RATE

_LANGUAGES = ("en", "de", "fr", "es")
_WINDOWS = 12
"""Of a request."""
_SECONDS = (1.0, 30.0)
_TOKENS_A_SECOND = 4

MakeRow = Callable[[str, Samples, tuple[int, ...], DecodingOptions], Row]
"""Makes a row of a key, the samples of a window, a prompt and options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """What was counted while rows waited."""

    slots: int
    rows: int
    """All that were answered."""
    steps: int
    slot_steps: int

    @property
    def share(self) -> float:
        """Of the slots, in use at a step."""
        return self.slot_steps / (self.slots * self.steps) if self.steps else 0.0


def with_features(info: ModelInfo) -> MakeRow:
    """Rows for an engine that wants features."""
    return lambda key, samples, prompt, options: Row(
        key=key, features=log_mel(samples, info.n_mels), prompt=prompt, options=options
    )


def mixed_rows(
    speech: Samples,
    tokenizer: Tokenizer,
    make_row: MakeRow,
    *,
    count: int,
    beam_size: int = 1,
    multilingual: bool = True,
    seed: int = 0,
) -> list[Row]:
    """Windows of 1 to 30 s of ``speech``, with words and without, of several temperatures, languages and prompts.

    One in eight asks for the language only; half of the hot ones take five samples. Equal arguments give equal rows.
    """
    chance = random.Random(seed)
    rows: list[Row] = []
    for number in range(count):
        length = min(round(chance.uniform(*_SECONDS) * SAMPLE_RATE), speech.size)
        start = chance.randint(0, speech.size - length)
        temperature = chance.choice((0.0, 0.0, 0.0, 0.2, 0.6))
        options = DecodingOptions(
            task="detect_language" if chance.random() < 1 / 8 else "transcribe",
            temperature=temperature,
            beam_size=beam_size,
            best_of=chance.choice((1, 5)),
            word_timestamps=chance.random() < 1 / 3,
            # About as much as can be said; small models would go on for ever.
            max_new_tokens=8 + round(_TOKENS_A_SECOND * length / SAMPLE_RATE),
        )
        context = tokenizer.encode(" and so it goes on" * chance.randint(1, 12)) if chance.random() < 1 / 4 else []
        start_tokens = tokenizer.sequence(
            language=chance.choice(_LANGUAGES), task="transcribe", timestamps=True, multilingual=multilingual
        )
        prompt = (*((tokenizer.sot_prev, *context) if context else ()), *start_tokens)
        rows.append(make_row(f"row-{number}", speech[start : start + length], prompt, options))
    return rows


async def measure_occupancy(config: EngineConfig, make_rows: Callable[[ModelInfo], Sequence[Row]]) -> Occupancy:
    """Have rows decoded that all come at once, those of a request with one another; see the module.

    Raises what the engine raises, and ValueError where its rows do not join.
    """
    metrics = Metrics()
    scheduler = Scheduler(lambda: start_replica(config), metrics=metrics)
    try:
        info = await scheduler.start()
        if not info.joins:
            raise ValueError(f"engine {info.engine} has no slots")
        rows = make_rows(info)
        readings: list[tuple[int, int]] = []

        async def ask(number: int, row: Row) -> None:
            request = RequestInfo(request_id=f"request-{number // _WINDOWS}", caller=f"caller-{number % 4}")
            seconds = (_WINDOWS - number % _WINDOWS) * 28.0
            await scheduler.decode(row, request, remaining_s=seconds)
            if metrics.queue_rows() > 0:
                readings.append((_count(metrics, "auricle_steps_total"), _count(metrics, "auricle_slot_steps_total")))

        await asyncio.gather(*(ask(number, row) for number, row in enumerate(rows)))
    finally:
        await scheduler.close()
    first, last = readings[0], readings[-1]
    return Occupancy(slots=info.max_batch, rows=len(rows), steps=last[0] - first[0], slot_steps=last[1] - first[1])


def _count(metrics: Metrics, name: str) -> int:
    return round(metrics.registry.get_sample_value(name) or 0.0)
