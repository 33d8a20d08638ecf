"""The engine of each model: as it was measured on this machine, measured now where that is asked for, or as expected.

Decided once a model, so that the key of a kept result names the engine that made it.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np

from auricle.audio.decode import decode_audio
from auricle.audio.mel import log_mel, with_margins
from auricle.batching.calibration import Report, calibrate
from auricle.engines.base import EngineConfig
from auricle.engines.choice import Choice, candidates, choose, look_around
from auricle.engines.optimized import find_optimized
from auricle.engines.speed import Table, load_table, save_table
from auricle.pipeline.library import ModelFolder
from auricle.types import Features, ModelInfo, Samples
from auricle.units import N_FRAMES, N_SAMPLES

_log = logging.getLogger(__name__)

_SPEECH = Path(__file__).parents[1] / "models" / "samples"


class EngineChoices:
    """What engine each model has, or will have. ``ask`` gives what the settings want for a model."""

    def __init__(
        self, ask: Callable[[ModelFolder], EngineConfig], *, beam_size: int, data_dir: Path, may_measure: bool
    ) -> None:
        self._ask = ask
        self._beam_size = beam_size
        self._data_dir = data_dir
        self._may_measure = may_measure
        self._asked: dict[tuple[Path, int], EngineConfig] = {}
        self._made: dict[tuple[Path, int], Choice] = {}

    def asked(self, folder: ModelFolder) -> EngineConfig:
        """What the settings wanted for a model when it was first asked for, and what was made for it until then."""
        key = (folder.path, folder.size_bytes)
        if key not in self._asked:
            self._asked[key] = self._ask(folder)
        return self._asked[key]

    def find(self, folder: ModelFolder) -> Choice | None:
        """The choice for a model, or None where it has still to be measured. Errors are those of ``choose``."""
        key = (folder.path, folder.size_bytes)
        if key not in self._made:
            asked = self.asked(folder)
            here = look_around(folder.path)
            table = load_table(asked, self._beam_size, self._data_dir)
            if self._may_measure and not (table and table.covers(candidates(asked, here))):
                return None
            self._made[key] = choose(asked, table, here)
        return self._made[key]

    async def settle(self, folder: ModelFolder) -> EngineConfig:
        """How to start the model's engine; measures first where that is still to be done. Raises EngineError too."""
        asked = self.asked(folder)
        choice = self.find(folder)
        if choice is None:
            table = await measure_engines(asked, beam_size=self._beam_size, report=_tell_log(asked))
            try:
                keep_table(asked, table, self._data_dir)
            except OSError as error:
                _log.warning("what was measured cannot be kept: %s", error)
            choice = choose(asked, table, look_around(folder.path))
            self._made[folder.path, folder.size_bytes] = choice
        _log.info("model %s runs on %s: %s", folder.name, choice.engine, choice.reason)
        optimized = find_optimized(folder.path, self._data_dir) if choice.engine == "openvino" else None
        if optimized is not None and (obstacle := optimized.obstacle(folder.path)):
            _log.warning("the optimized encoder of %s is not used: %s", folder.name, obstacle)
        return choice.apply(asked)


async def measure_engines(asked: EngineConfig, *, beam_size: int, report: Report) -> Table:
    """The speed of all engines and number formats that ``asked`` leaves open; from seconds to minutes.

    Raises EngineError where none can be measured.
    """
    speech = await asyncio.to_thread(_read_speech)

    window = partial(speech_window, speech)
    return await calibrate(candidates(asked, look_around(asked.model_path)), window, beam_size=beam_size, report=report)


def speech_window(speech: Samples, info: ModelInfo) -> tuple[Features, Samples | None]:
    """30 s of speech as a ``Row`` for the engine holds them."""
    if info.wants_samples:
        return np.zeros((0, N_FRAMES), np.float32), with_margins(speech)
    return log_mel(speech, info.n_mels), None


def keep_table(asked: EngineConfig, table: Table, data_dir: Path) -> Path:
    """Write the table, with what earlier ones say of other engines. Raises OSError."""
    older = load_table(asked, table.beam_size, data_dir)
    return save_table(asked, data_dir, table.over(older))


@cache
def _read_speech() -> Samples:
    """30 s of the package's examples, float32 (480000,)."""
    blocks = [block for path in sorted(_SPEECH.glob("*.flac")) for block in decode_audio(path)]
    return np.resize(np.concatenate(blocks), N_SAMPLES)


def _tell_log(asked: EngineConfig) -> Report:
    return lambda what: _log.info("measuring %s on this machine: %s", asked.model_name, what)
