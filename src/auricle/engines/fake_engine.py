"""An engine without a network, for tests: the same features always give the same words.

Each second of audio becomes one word of a small vocabulary (token ids of the multilingual Whisper tokenizer), each
five seconds one segment; features without any variation are silence. It says that it is on the device that it is asked
for. Faults are asked for by ``EngineConfig.options``:

``joins``            ``true``: rows join and leave at any step, see ``fake_slots``; a step is a token
``step_delay_s``     seconds that each row takes, or each step
``load_delay_s``     seconds that loading takes
``fail_load``        loading raises EngineFailed with this message
``crash_on_batch``   the process kills itself in its n-th batch, or step (the first is 1)
``crash_on_key``     … in a batch that holds a row whose key contains this
``last_words``       what it writes to standard error before it kills itself
``raise_on_key``     raises RuntimeError for such a batch
``oom_above``        raises EngineOutOfMemory for batches of more rows than this
``batch_by``         what the rows of a batch must share, comma-separated; nothing by default
``gives_way``        ``between_rows`` lets other batches go first before each row
"""

import os
import time
from collections.abc import Mapping, Sequence

import numpy as np

from auricle.engines.base import EngineConfig, Pause, go_on
from auricle.engines.fake_slots import FakeSlotEngine
from auricle.errors import EngineFailed, EngineOutOfMemory, InvalidOption
from auricle.types import Decoding, Features, ModelInfo, Row
from auricle.units import FRAME_RATE, TIMESTAMP_S

FIRST_TIMESTAMP = 50364
VOCABULARY = (264, 1702, 6810, 6067, 1791, 3407, 5677, 21379, 293, 633, 1359, 5255, 23250, 949, 18192)
"""the quick river moves past seven quiet hills and every small bird sings before dawn (each with a space before it)"""

_LANGUAGES = (("en", 0.94), ("de", 0.03), ("fr", 0.02), ("es", 0.01))
_SEGMENT_S = 5
_FAULTS = frozenset(("fail_load", "crash_on_batch", "crash_on_key", "last_words", "raise_on_key", "oom_above"))
_OPTIONS = _FAULTS | {"joins", "step_delay_s", "load_delay_s", "batch_by", "gives_way"}


class FakeEngine:
    """See the module."""

    def __init__(self, config: EngineConfig) -> None:
        self._options = config.options
        self._faults = _Faults(config.options)
        self._info = _info(config)

    @property
    def info(self) -> ModelInfo:
        """80 mels, four languages, batches of 8."""
        return self._info

    def decode(self, rows: Sequence[Row], pause: Pause = go_on) -> list[Decoding]:
        """Answer ``rows``, or fail in the way that the options ask for."""
        for _ in rows:
            if self._info.gives_way == "between_rows":
                pause()
            time.sleep(float(self._options.get("step_delay_s", "0")))
        self._faults.strike(rows)
        return [_answer(row) for row in rows]

    def close(self) -> None:
        """Nothing is held."""


class _Faults:
    """Those that the options ask for."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = options
        self._strikes = 0

    def strike(self, rows: Sequence[Row]) -> None:
        """Fail, if it is time to, with ``rows`` in the engine."""
        self._strikes += 1
        options = self._options
        if self._strikes == int(options.get("crash_on_batch", "0")) or _holds(rows, options.get("crash_on_key")):
            os.write(2, options.get("last_words", "").encode())
            os._exit(70)
        if _holds(rows, options.get("raise_on_key")):
            raise RuntimeError("the fake engine was asked to raise")
        if "oom_above" in options and len(rows) > int(options["oom_above"]):
            raise EngineOutOfMemory(f"the fake engine has no room for {len(rows)} rows")


def load(config: EngineConfig) -> FakeEngine | FakeSlotEngine:
    """Make the engine; ``model_path`` is not read. Raises InvalidOption for an unknown option."""
    time.sleep(float(config.options.get("load_delay_s", "0")))
    if "fail_load" in config.options:
        raise EngineFailed(config.options["fail_load"])
    unknown = sorted(set(config.options) - _OPTIONS)
    if unknown:
        raise InvalidOption(f"the fake engine has no option {unknown[0]!r}; it has: {', '.join(sorted(_OPTIONS))}")
    if config.options.get("joins") != "true":
        return FakeEngine(config)
    delay_s = float(config.options.get("step_delay_s", "0"))
    return FakeSlotEngine(_info(config), _answer, _Faults(config.options).strike, delay_s)


def _info(config: EngineConfig) -> ModelInfo:
    joins = config.options.get("joins") == "true"
    batch_by = config.options.get("batch_by", "")
    return ModelInfo(
        name=config.model_name,
        engine="fake",
        device="cpu" if config.device == "auto" else config.device,
        compute_type="none",
        n_mels=80,
        is_multilingual=True,
        can_translate=True,
        max_batch=config.max_batch or 8,
        joins=joins,
        batch_by=tuple(batch_by.split(",")) if batch_by and not joins else (),
        gives_way="between_rows" if config.options.get("gives_way") == "between_rows" else "never",
        languages=tuple(code for code, _ in _LANGUAGES),
    )


def _holds(rows: Sequence[Row], part: str | None) -> bool:
    return part is not None and any(part in row.key for row in rows)


def _answer(row: Row) -> Decoding:
    if row.options.task == "detect_language":
        return Decoding(language_probabilities=_LANGUAGES)
    duration_s = row.features.shape[1] / FRAME_RATE
    if float(np.ptp(row.features)) == 0.0:
        return Decoding(no_speech_prob=1.0, temperature=row.options.temperature)
    words = _words(row.features)[: row.options.max_new_tokens]
    times = tuple((float(second), min(second + 1.0, duration_s)) for second in range(len(words)))
    asked = row.options
    return Decoding(
        tokens=words if asked.without_timestamps else _with_timestamps(words, times),
        avg_logprob=-0.1,
        temperature=asked.temperature,
        token_logprobs=(-0.1,) * len(words) if asked.logprobs else None,
        token_times=times if asked.word_timestamps else None,
        token_probabilities=(0.9,) * len(words) if asked.word_timestamps else None,
    )


def _words(features: Features) -> tuple[int, ...]:
    """One token a second, chosen by the mean of that second."""
    seconds = range(0, features.shape[1], FRAME_RATE)
    means = [float(features[:, start : start + FRAME_RATE].mean()) for start in seconds]
    return tuple(VOCABULARY[int(abs(mean) * 1000) % len(VOCABULARY)] for mean in means)


def _with_timestamps(words: Sequence[int], times: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    tokens: list[int] = []
    for first in range(0, len(words), _SEGMENT_S):
        last = min(first + _SEGMENT_S, len(words)) - 1
        start, end = (FIRST_TIMESTAMP + round(time_s / TIMESTAMP_S) for time_s in (times[first][0], times[last][1]))
        tokens += [start, *words[first : last + 1], end]
    return tuple(tokens)
