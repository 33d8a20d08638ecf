"""Puts the parts together; what the server and the command line both stand on."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import log2
from pathlib import Path
from uuid import uuid4

from auricle.batching.device import Devices
from auricle.batching.fleet import Fleet
from auricle.batching.metrics import Metrics
from auricle.batching.replica import start_replica
from auricle.batching.scheduler import Scheduler
from auricle.config import Settings
from auricle.engines.base import EngineConfig
from auricle.engines.devices import cuda_memory_bytes
from auricle.engines.optimized import find_optimized
from auricle.engines.registry import check_engine
from auricle.engines.weights import default_model
from auricle.jobs.meter import AudioMeter
from auricle.jobs.service import Jobs
from auricle.pipeline.engine_choice import EngineChoices
from auricle.pipeline.library import Library, ModelFolder
from auricle.pipeline.memory import machine_bytes
from auricle.pipeline.models import Models
from auricle.pipeline.shelf import Shelf, ShelfLimits
from auricle.pipeline.transcriber import Transcriber
from auricle.reuse.key import folder_fingerprint
from auricle.reuse.result_cache import ResultCache, Store
from auricle.reuse.transcriber import CachingTranscriber
from auricle.runtime_jobs import open_jobs_service
from auricle.speakers.options import DiarizerOptions
from auricle.speakers.registry import make_diarizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The settings, and all that was made from them."""

    settings: Settings
    transcriber: CachingTranscriber
    models: Models
    jobs: Jobs
    metrics: Metrics

    def start(self) -> None:
        """Open the cache of results in the background, for those who pass a ``Reuse`` with their requests; run jobs."""
        self.transcriber.start()
        self.jobs.start()

    async def close(self) -> None:
        """End all runs and all engine processes, and close the cache; jobs go on with the next start."""
        await self.jobs.close()
        await self.transcriber.close()
        await self.models.close()


def open_runtime(settings: Settings, *, meter: AudioMeter | None = None) -> Runtime:
    """Everything that transcribes, ready for use; models are loaded when they are asked for. ``meter`` counts the audio
    that jobs fetch.

    Raises InvalidOption for settings that contradict what is installed.
    """
    if settings.engine != "auto":
        check_engine(settings.engine)
    metrics = Metrics()
    choices = engine_choices(settings)
    models = Models(
        default=partial(default_model_name, settings),
        aliases=settings.model_aliases,
        library=Library(
            data_dir=settings.data_dir,
            offline=settings.offline,
            allow_downloads=settings.allow_downloads,
            allow_any_repo=settings.allow_any_repo,
        ),
        shelf=Shelf(
            start=partial(_start_recognizer, settings, metrics, defaultdict(Devices), choices),
            limits=_shelf_limits(settings),
        ),
        pinned=settings.pinned_models,
        preloaded=settings.preload_models,
        load_on_demand=settings.load_on_demand,
    )
    transcriber = Transcriber(
        models,
        max_windows_in_flight=settings.max_windows_in_flight,
        max_audio_s=settings.max_audio_s,
        report=metrics.add_transcript,
        make_diarizer=None
        if settings.diarization == "off"
        else partial(make_diarizer, settings.diarization, _diarizer_options(settings)),
    )
    identify = partial(_identify, settings, models, choices)
    caching = CachingTranscriber(
        transcriber,
        cache=ResultCache(partial(_open_store, settings)),
        identify=identify,
        metrics=metrics,
        grace_s=settings.join_grace_s,
    )
    jobs = open_jobs_service(
        settings, transcriber=caching, models=models, identify=identify, metrics=metrics, meter=meter
    )
    return Runtime(settings=settings, transcriber=caching, models=models, jobs=jobs, metrics=metrics)


def default_model_name(settings: Settings) -> str:
    """The model of a request that names none; ``auto`` is settled here, by the machine."""
    if settings.model != "auto":
        return settings.model
    memory = cuda_memory_bytes() if settings.device in {"auto", "cuda"} else ()
    indices = settings.devices or (settings.device_index,)
    if max(indices) < len(memory):
        return default_model("cuda", min(memory[index] for index in indices))
    return default_model("cpu", None)


def _open_store(settings: Settings) -> Store | None:
    # SQLAlchemy takes a third of a second to import, which the command line need not wait for.
    from auricle.store.opening import erase_transcripts, open_transcripts  # noqa: PLC0415

    url = settings.database_url.get_secret_value()
    if settings.zero_retention or not settings.cache_ttl_s or not settings.cache_max_mb:
        erase_transcripts(settings.data_dir, url=url)
        return None
    max_bytes = int(settings.cache_max_mb * (1 << 20))
    return open_transcripts(settings.data_dir, url=url, max_age_s=settings.cache_ttl_s, max_bytes=max_bytes)


async def _identify(settings: Settings, models: Models, choices: EngineChoices, name: str | None) -> str:
    """What decides about the text and its speakers; the compute type may be ``auto``, which its engine settles by
    itself, and always in the same way."""
    folder = await models.folder(name)
    # A few stats of local files: a thread would cost more.
    files = folder_fingerprint(folder.path)
    choice = choices.find(folder)
    # Of a model that is still to be measured nobody knows what will make the result: it is not found again.
    engine = (choice.engine, choice.device, choice.compute_type) if choice is not None else ("unmeasured", uuid4().hex)
    asked = choices.asked(folder)
    if engine[0] == "openvino" and asked.optimized is not None:
        engine = (*engine, asked.optimized.name)
    options = (f"{name}={value}" for name, value in sorted(asked.options.items()))
    return "|".join((files, *engine, str(asked.device_index), *options, *_diarizer_facts(settings)))


def _diarizer_options(settings: Settings) -> DiarizerOptions:
    return DiarizerOptions(
        data_dir=settings.data_dir,
        offline=settings.offline,
        device=settings.device,
        pyannote_model=settings.pyannote_model,
        sherpa_segmentation_model=settings.sherpa_segmentation_model,
        sherpa_embedding_model=settings.sherpa_embedding_model,
    )


def _diarizer_facts(settings: Settings) -> tuple[str, ...]:
    """What decides about the speakers."""
    models = {
        "pyannote": (settings.pyannote_model,),
        "sherpa": (settings.sherpa_segmentation_model, settings.sherpa_embedding_model),
    }
    return (settings.diarization, *models.get(settings.diarization, ()))


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
    """How the settings want the engine of a model; what they leave open is ``auto`` or 0."""
    optimized = find_optimized(folder.path, settings.data_dir)
    is_usable = optimized is not None and not optimized.obstacle(folder.path)
    return EngineConfig(
        engine=settings.engine,
        model_name=folder.name,
        model_path=folder.path,
        device="cuda" if settings.devices else settings.device,
        device_index=settings.devices[0] if settings.devices else settings.device_index,
        compute_type=settings.compute_type,
        threads=settings.threads,
        max_batch=settings.max_batch,
        cache_dir=settings.data_dir / "engines" if settings.engine_cache_max_mb else None,
        cache_bytes=int(settings.engine_cache_max_mb * (1 << 20)),
        options=_engine_options(settings),
        optimized=optimized.folder if optimized is not None and is_usable else None,
    )


def _engine_options(settings: Settings) -> dict[str, str]:
    asked = {"torch_compile": "on" if settings.torch_compile else "off", "torch_quantize": settings.torch_quantize}
    return {name: value for name, value in asked.items() if value != "off"}


def engine_choices(settings: Settings) -> EngineChoices:
    """What decides about the engine of each model."""
    return EngineChoices(
        partial(engine_config, settings),
        beam_size=settings.beam_size,
        data_dir=settings.data_dir,
        may_measure=settings.calibrate == "auto",
    )


async def _start_recognizer(
    settings: Settings,
    metrics: Metrics,
    places: defaultdict[int, Devices],
    choices: EngineChoices,
    folder: ModelFolder,
) -> Scheduler | Fleet:
    """A started engine, or one for each device; ``places`` are where models take turns, by the device's index."""
    config = await choices.settle(folder)
    schedulers = [
        Scheduler(
            partial(start_replica, replace(config, device_index=index)),
            metrics=metrics,
            devices=places[index],
            rank=model_rank(settings.model_priority, folder.name, folder.path),
            max_batch_s=settings.max_batch_s,
            batch_timeout_s=settings.batch_timeout_s,
        )
        for index in settings.devices or (config.device_index,)
    ]
    recognizer = schedulers[0] if len(schedulers) == 1 else Fleet(schedulers)
    try:
        await recognizer.start()
    except BaseException:
        await recognizer.close()
        raise
    return recognizer
