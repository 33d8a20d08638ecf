"""Puts the parts together; what the server and the command line both stand on."""

from dataclasses import dataclass
from functools import partial

from auricle.batching.metrics import Metrics
from auricle.batching.replica import start_replica
from auricle.batching.scheduler import Scheduler
from auricle.config import Settings
from auricle.engines.base import EngineConfig
from auricle.engines.devices import cuda_memory_bytes
from auricle.engines.registry import choose_engine
from auricle.engines.weights import default_model, list_models, resolve_model
from auricle.pipeline.models import ModelFolder, Models, Progress
from auricle.pipeline.transcriber import Transcriber


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The settings, and all that was made from them."""

    settings: Settings
    transcriber: Transcriber
    models: Models
    metrics: Metrics

    async def close(self) -> None:
        """End all engine processes."""
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
        locate=partial(_locate, settings),
        start=partial(_start_scheduler, settings, metrics),
        on_disk=lambda: [model.name for model in list_models(settings.data_dir)],
    )
    transcriber = Transcriber(
        models, max_windows_in_flight=settings.max_windows_in_flight, max_audio_s=settings.max_audio_s
    )
    return Runtime(settings=settings, transcriber=transcriber, models=models, metrics=metrics)


def default_model_name(settings: Settings) -> str:
    """The model of a request that names none; ``auto`` is settled here, by the machine."""
    if settings.model != "auto":
        return settings.model
    memory = cuda_memory_bytes() if settings.device != "cpu" else ()
    if settings.device_index < len(memory):
        return default_model("cuda", memory[settings.device_index])
    return default_model("cpu", None)


def _locate(settings: Settings, name: str, trusted: bool, progress: Progress) -> ModelFolder:
    found = resolve_model(
        name, data_dir=settings.data_dir, offline=settings.offline, allow_local=trusted, progress=progress
    )
    # Clients see the name; where a folder of the server lies is none of their business.
    return ModelFolder(name=found.path.name if found.source == "local" else found.name, path=found.path)


async def _start_scheduler(settings: Settings, metrics: Metrics, folder: ModelFolder) -> Scheduler:
    config = EngineConfig(
        engine=choose_engine(settings.engine),
        model_name=folder.name,
        model_path=folder.path,
        device=settings.device,
        device_index=settings.device_index,
        compute_type=settings.compute_type,
        threads=settings.threads,
        max_batch=settings.max_batch,
    )
    scheduler = Scheduler(partial(start_replica, config), max_requests=settings.max_requests, metrics=metrics)
    try:
        await scheduler.start()
    except BaseException:
        await scheduler.close()
        raise
    return scheduler
