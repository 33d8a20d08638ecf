"""Puts the parts together; what the server and the command line both stand on."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import log2
from pathlib import Path

from auricle.batching.calibration import calibrate
from auricle.batching.device import Devices
from auricle.batching.metrics import Metrics
from auricle.batching.replica import start_replica
from auricle.batching.scheduler import Scheduler
from auricle.config import Settings
from auricle.engines.base import EngineConfig
from auricle.engines.calibrate import load_table, save_table, tuned
from auricle.engines.devices import cuda_memory_bytes
from auricle.engines.registry import choose_engine
from auricle.engines.weights import default_model
from auricle.pipeline.library import Library, ModelFolder
from auricle.pipeline.memory import machine_bytes
from auricle.pipeline.models import Models
from auricle.pipeline.shelf import Shelf, ShelfLimits
from auricle.pipeline.transcriber import Transcriber
from auricle.reuse.key import folder_fingerprint
from auricle.reuse.result_cache import ResultCache, Store
from auricle.reuse.transcriber import CachingTranscriber

_log = logging.getLogger("auricle.runtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The settings, and all that was made from them."""

    settings: Settings
    transcriber: CachingTranscriber
    models: Models
    metrics: Metrics

    def start(self) -> None:
        """Open the cache of results in the background; for those who pass a ``Reuse`` with their requests."""
        self.transcriber.start()

    async def close(self) -> None:
        """End all runs and all engine processes, and close the cache."""
        await self.transcriber.close()
        await self.models.close()


def open_runtime(settings: Settings) -> Runtime:
    """Everything that transcribes, ready for use; models are loaded when they are asked for.

    Raises InvalidOption for settings that contradict what is installed.
    """
    choose_engine(settings.engine)
    metrics = Metrics()
    models = Models(
        default=partial(default_model_name, settings),
        aliases=settings.model_aliases,
        library=Library(
            data_dir=settings.data_dir,
            offline=settings.offline,
            allow_downloads=settings.allow_downloads,
            allow_any_repo=settings.allow_any_repo,
        ),
        shelf=Shelf(start=partial(_start_scheduler, settings, metrics, Devices()), limits=_shelf_limits(settings)),
        pinned=settings.pinned_models,
        preloaded=settings.preload_models,
        load_on_demand=settings.load_on_demand,
    )
    transcriber = Transcriber(
        models,
        max_windows_in_flight=settings.max_windows_in_flight,
        max_audio_s=settings.max_audio_s,
        report=metrics.add_transcript,
    )
    caching = CachingTranscriber(
        transcriber,
        cache=ResultCache(partial(_open_store, settings)),
        identify=partial(_identify, settings, models),
        metrics=metrics,
        grace_s=settings.join_grace_s,
    )
    return Runtime(settings=settings, transcriber=caching, models=models, metrics=metrics)


def default_model_name(settings: Settings) -> str:
    """The model of a request that names none; ``auto`` is settled here, by the machine."""
    if settings.model != "auto":
        return settings.model
    memory = cuda_memory_bytes() if settings.device != "cpu" else ()
    if settings.device_index < len(memory):
        return default_model("cuda", memory[settings.device_index])
    return default_model("cpu", None)


def _open_store(settings: Settings) -> Store | None:
    # SQLAlchemy takes a third of a second to import, which the command line need not wait for.
    from auricle.store.opening import erase_transcripts, open_transcripts  # noqa: PLC0415

    if settings.zero_retention or not settings.cache_ttl_s or not settings.cache_max_mb:
        erase_transcripts(settings.data_dir)
        return None
    max_bytes = int(settings.cache_max_mb * (1 << 20))
    return open_transcripts(settings.data_dir, max_age_s=settings.cache_ttl_s, max_bytes=max_bytes)


async def _identify(settings: Settings, models: Models, name: str | None) -> str:
    """What of a model decides about the text; compute type and device as they are set, since ``auto`` is settled in
    the engine's process, which a result from the cache does not need."""
    folder = await models.folder(name)
    # A few stats of local files: a thread would cost more.
    files = folder_fingerprint(folder.path)
    engine = choose_engine(settings.engine)
    return "|".join((files, engine, settings.device, str(settings.device_index), settings.compute_type))


def _shelf_limits(settings: Settings) -> ShelfLimits:
    return ShelfLimits(
        ttl_s=settings.model_ttl_s,
        max_models=settings.max_loaded_models,
        max_bytes=int(settings.max_model_memory_mb * (1 << 20)) or machine_bytes() * 3 // 4,
    )


def model_rank(priorities: Mapping[str, int], name: str, path: Path) -> float:
    """The place of a model where several share a device; the lower goes first.

    Those of the setting go by it; all others come after them, one place behind for each doubling of their size.
    """
    if name in priorities:
        return priorities[name]
    megabytes = sum(file.stat().st_size for file in path.glob("*") if file.is_file()) / 2**20
    return max(priorities.values(), default=-1) + 1 + log2(1 + megabytes)


def engine_config(settings: Settings, folder: ModelFolder) -> EngineConfig:
    """How the settings want the engine of a model."""
    return EngineConfig(
        engine=choose_engine(settings.engine),
        model_name=folder.name,
        model_path=folder.path,
        device=settings.device,
        device_index=settings.device_index,
        compute_type=settings.compute_type,
        threads=settings.threads,
        max_batch=settings.max_batch,
    )


async def _calibrated(settings: Settings, config: EngineConfig) -> EngineConfig:
    """With what was measured on this machine in place of what the settings leave open."""
    table = load_table(config, settings.data_dir)
    if table is None and settings.calibrate == "auto":
        table = await calibrate(config, beam_size=settings.beam_size, report=_tell_trial(config))
        try:
            save_table(config, settings.data_dir, table)
        except OSError as error:
            _log.warning("what was measured cannot be kept: %s", error)
    return tuned(config, table)


def _tell_trial(config: EngineConfig) -> Callable[[str], None]:
    return lambda compute_type: _log.info("measuring %s in %s on this machine", config.model_name, compute_type)


async def _start_scheduler(settings: Settings, metrics: Metrics, devices: Devices, folder: ModelFolder) -> Scheduler:
    config = await _calibrated(settings, engine_config(settings, folder))
    scheduler = Scheduler(
        partial(start_replica, config),
        metrics=metrics,
        devices=devices,
        rank=model_rank(settings.model_priority, folder.name, folder.path),
        max_batch_s=settings.max_batch_s,
        batch_timeout_s=settings.batch_timeout_s,
    )
    try:
        await scheduler.start()
    except BaseException:
        await scheduler.close()
        raise
    return scheduler
