import asyncio
from pathlib import Path

import pytest

from auricle.batching.metrics import Metrics
from auricle.batching.replica import start_replica
from auricle.batching.scheduler import Scheduler
from auricle.engines.base import EngineConfig
from auricle.errors import ModelNotFound
from auricle.pipeline.models import OPENAI_NAMES, ModelFolder, Models, Progress
from samples import NANO


class Shelf:
    """Models that are all nano's vocabulary with the fake engine behind; counts what is asked of it."""

    def __init__(self, root: Path, **aliases: str) -> None:
        self.root = root
        self.located: list[tuple[str, bool]] = []
        self.started: list[str] = []
        self.failures = 0
        self.models = Models(
            default=lambda: "base", aliases=aliases, locate=self.locate, start=self.start, on_disk=lambda: ["tiny"]
        )

    def locate(self, name: str, trusted: bool, progress: Progress) -> ModelFolder:
        self.located.append((name, trusted))
        progress(1, 2)
        if name == "nowhere":
            raise ModelNotFound(f"there is no model {name!r}")
        folder = self.root / Path(name).name
        if not folder.exists():
            folder.symlink_to(NANO)
        return ModelFolder(name=folder.name, path=folder)

    async def start(self, folder: ModelFolder) -> Scheduler:
        self.started.append(folder.name)
        if self.failures:
            self.failures -= 1
            raise ModelNotFound("not this time")
        config = EngineConfig(engine="fake", model_name=folder.name, model_path=NANO)
        scheduler = Scheduler(lambda: start_replica(config), max_requests=4, metrics=Metrics())
        await scheduler.start()
        return scheduler


async def test_the_names_of_openai_and_none_at_all_mean_the_default_model(tmp_path: Path):
    shelf = Shelf(tmp_path)
    names = [(await shelf.models.get(name)).name for name in (None, *OPENAI_NAMES)]
    assert set(names) == {"base"}
    assert shelf.started == ["base"]
    await shelf.models.close()


async def test_an_alias_decides_even_over_a_name_of_openai_and_may_be_a_local_folder(tmp_path: Path):
    shelf = Shelf(tmp_path, **{"whisper-1": "/models/ours", "gpt-4o-transcribe": "whisper-1"})
    assert (await shelf.models.get("whisper-1")).name == "ours"
    assert (await shelf.models.get("gpt-4o-transcribe")).name == "base"
    assert ("/models/ours", True) in shelf.located
    await shelf.models.close()


async def test_a_name_from_a_request_is_not_trusted_with_local_folders(tmp_path: Path):
    shelf = Shelf(tmp_path)
    await shelf.models.get("/etc")
    assert shelf.located == [("/etc", False)]
    await shelf.models.close()


async def test_concurrent_first_requests_load_a_model_once(tmp_path: Path):
    shelf = Shelf(tmp_path)
    models = await asyncio.gather(*(shelf.models.get("small") for _ in range(8)))
    assert len({id(model) for model in models}) == 1
    assert shelf.started == ["small"]
    await shelf.models.close()


async def test_a_caller_that_leaves_does_not_end_the_loading_for_the_others(tmp_path: Path):
    shelf = Shelf(tmp_path)
    leaving = asyncio.create_task(shelf.models.get("small"))
    staying = asyncio.create_task(shelf.models.get("small"))
    await asyncio.sleep(0.01)
    leaving.cancel()
    assert (await staying).name == "small"
    assert shelf.started == ["small"]
    await shelf.models.close()


async def test_a_failed_load_is_tried_again_by_the_next_request(tmp_path: Path):
    shelf = Shelf(tmp_path)
    shelf.failures = 1
    with pytest.raises(ModelNotFound, match="not this time"):
        await shelf.models.get("small")
    assert (await shelf.models.get("small")).name == "small"
    await shelf.models.close()


async def test_an_unknown_model_is_reported_and_forgotten(tmp_path: Path):
    shelf = Shelf(tmp_path)
    for _ in range(2):
        with pytest.raises(ModelNotFound, match="nowhere"):
            await shelf.models.get("nowhere")
    assert len(shelf.located) == 2


async def test_unloading_ends_the_process_and_the_next_request_loads_anew(tmp_path: Path):
    shelf = Shelf(tmp_path)
    first = await shelf.models.get("small")
    assert first.recognizer.alive
    await shelf.models.unload("small")
    assert not first.recognizer.alive
    assert shelf.models.loaded() == []
    assert (await shelf.models.get("small")).recognizer.alive
    assert shelf.started == ["small", "small"]
    await shelf.models.close()


async def test_the_listing_names_every_model_once_and_marks_what_is_loaded(tmp_path: Path):
    shelf = Shelf(tmp_path, house="/srv/models/house-blend")
    await shelf.models.get("house")
    listing = {summary.id: summary for summary in shelf.models.listing()}
    assert next(iter(listing)) == "base"
    assert {"house", "tiny", *OPENAI_NAMES} <= set(listing)
    assert listing["base"].is_default
    assert listing["house"].is_loaded
    assert not listing["whisper-1"].is_loaded
    assert len(listing) == len(shelf.models.listing())
    await shelf.models.close()
