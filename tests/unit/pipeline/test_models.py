import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from idle_engine import start_idle

from auricle.batching.scheduler import Scheduler
from auricle.errors import InvalidOption, ModelInUse, ModelLoading, ModelNotFound
from auricle.pipeline.library import Library, ModelFolder, Origin, Progress
from auricle.pipeline.models import DEFAULT, OPENAI_NAMES, Models
from auricle.pipeline.shelf import Shelf, ShelfLimits
from samples import NANO


class Shop(Library):
    """Models that are all nano, on disk or in reach; counts what is asked of it."""

    def __init__(self, root: Path) -> None:
        super().__init__(data_dir=root, allow_any_repo=True)
        vars_ = {"found": [], "pulled": [], "present": {"base", "small"}, "go_on": Event()}
        for name, value in vars_.items():
            object.__setattr__(self, name, value)

    found: list[tuple[str, Origin]]
    pulled: list[str]
    present: set[str]
    go_on: Event

    def find(self, name: str, origin: Origin) -> ModelFolder | None:
        self.found.append((name, origin))
        is_local = Path(name).is_absolute()
        if is_local and origin is not Origin.SETTINGS:
            raise ModelNotFound(f"there is no model {name!r}")
        return self.folder(name, is_local) if is_local or name in self.present else None

    def folder(self, name: str, is_local: bool = False) -> ModelFolder:
        folder = self.data_dir / Path(name).name
        with suppress(FileExistsError):
            folder.symlink_to(NANO)
        return ModelFolder(name=folder.name, path=folder, size_bytes=1 << 20, is_local=is_local)

    def pull(self, name: str, progress: Progress) -> ModelFolder:
        self.pulled.append(name)
        progress(1, 2)
        if name == "org/nowhere":
            raise ModelNotFound(f"there is no model {name!r}")
        assert self.go_on.wait(10)
        self.present.add(name)
        return self.folder(name)

    def remove(self, name: str) -> int:
        self.present.discard(name)
        return 1000

    def on_disk(self) -> dict[str, Path]:
        return {name: self.data_dir / name for name in sorted(self.present)}


class World:
    """Models over a shop, without engines."""

    def __init__(self, root: Path, *, limits: ShelfLimits | None = None, **options: Any) -> None:
        self.shop = Shop(root)
        self.shop.go_on.set()
        self.started: list[str] = []
        options = {"aliases": {}} | options
        shelf = Shelf(start=self.start, limits=limits or ShelfLimits())
        self.models = Models(default=lambda: "base", library=self.shop, shelf=shelf, **options)

    async def start(self, folder: ModelFolder) -> Scheduler:
        self.started.append(folder.name)
        return await start_idle(folder, pid=os.getpid())

    async def name_of(self, name: str | None) -> str:
        async with self.models.lease(name) as model:
            return model.name

    def loaded(self) -> set[str]:
        return {model.name for model in self.models.loaded()}


@asynccontextmanager
async def world(root: Path, **options: Any) -> AsyncIterator[World]:
    made = World(root, **options)
    try:
        yield made
    finally:
        made.shop.go_on.set()
        await made.models.close()


async def until(condition: Any) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def test_the_names_of_openai_and_none_at_all_mean_the_default_model(tmp_path: Path):
    async with world(tmp_path) as here:
        assert {await here.name_of(name) for name in (None, *OPENAI_NAMES)} == {"base"}
        assert here.started == ["base"]


async def test_an_alias_decides_even_over_a_name_of_openai_and_may_be_a_local_folder(tmp_path: Path):
    aliases = {"whisper-1": "/models/ours", "gpt-4o-transcribe": "whisper-1"}
    async with world(tmp_path, aliases=aliases) as here:
        assert await here.name_of("whisper-1") == "ours"
        assert await here.name_of("gpt-4o-transcribe") == "base"
        assert ("/models/ours", Origin.SETTINGS) in here.shop.found


async def test_a_folder_that_the_settings_preload_is_known_to_clients_by_its_last_part(tmp_path: Path):
    async with world(tmp_path, preloaded=["/models/ours", DEFAULT]) as here:
        assert await here.name_of("ours") == "ours"


async def test_a_name_from_a_request_is_not_trusted_with_local_folders(tmp_path: Path):
    async with world(tmp_path) as here:
        with pytest.raises(ModelNotFound):
            await here.name_of("/etc")
        assert here.shop.found == [("/etc", Origin.CLIENT)]


async def test_concurrent_first_requests_download_and_load_a_model_once(tmp_path: Path):
    async with world(tmp_path) as here:
        names = await asyncio.gather(*(here.name_of("tiny") for _ in range(50)))
        assert set(names) == {"tiny"}
        assert here.shop.pulled == ["tiny"]
        assert here.started == ["tiny"]


async def test_a_caller_that_leaves_does_not_end_the_download_for_the_others(tmp_path: Path):
    async with world(tmp_path) as here:
        here.shop.go_on.clear()
        leaving, staying = (asyncio.create_task(here.name_of("tiny")) for _ in range(2))
        await until(lambda: here.shop.pulled)
        leaving.cancel()
        here.shop.go_on.set()
        assert await staying == "tiny"
        assert here.shop.pulled == ["tiny"]


async def test_a_download_that_failed_is_told_to_all_and_not_begun_again_at_once(tmp_path: Path):
    async with world(tmp_path) as here:
        outcomes = await asyncio.gather(*(here.name_of("org/nowhere") for _ in range(3)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ModelNotFound] * 3
        with pytest.raises(ModelNotFound, match="nowhere"):
            await here.name_of("org/nowhere")
        assert here.shop.pulled == ["org/nowhere"]


async def test_what_is_being_downloaded_is_listed_with_its_bytes(tmp_path: Path):
    async with world(tmp_path) as here:
        here.shop.go_on.clear()
        assert await here.models.pull("tiny", wait=False) is False
        (loading,) = here.models.loading()
        assert (loading.id, loading.stage, loading.bytes_done, loading.bytes_total) == ("tiny", "downloading", 1, 2)
        here.shop.go_on.set()
        assert await here.models.pull("tiny", wait=True) is True
        await until(lambda: not here.models.loading())
        assert here.started == [], "to pull is not to load"


async def test_a_pull_that_fails_behind_is_told_to_the_next_who_asks(tmp_path: Path):
    async with world(tmp_path) as here:
        for _ in range(2):
            with pytest.raises(ModelNotFound, match="nowhere"):
                await here.models.pull("org/nowhere", wait=False)
        assert here.shop.pulled == ["org/nowhere"]


async def test_an_idle_model_is_unloaded_before_its_download_is_removed(tmp_path: Path):
    async with world(tmp_path) as here:
        await here.models.load("small")
        assert await here.models.remove("small") == 1000
        assert here.loaded() == set()
        assert "small" not in here.shop.present


async def test_a_model_in_use_or_on_its_way_is_not_removed(tmp_path: Path):
    async with world(tmp_path) as here:
        async with here.models.lease("small"):
            with pytest.raises(ModelInUse, match="in use"):
                await here.models.remove("small")
        here.shop.go_on.clear()
        await here.models.pull("tiny", wait=False)
        with pytest.raises(ModelInUse, match="downloaded"):
            await here.models.remove("tiny")


async def test_a_folder_that_the_settings_name_is_never_removed(tmp_path: Path):
    async with world(tmp_path, aliases={"house": "/srv/models/house-blend"}) as here:
        with pytest.raises(InvalidOption, match="settings") as caught:
            await here.models.remove("house")
        assert "/srv" not in caught.value.message


async def test_without_loading_on_demand_requests_use_what_is_loaded_and_nothing_else(tmp_path: Path):
    async with world(tmp_path, preloaded=[DEFAULT], load_on_demand=False) as here:
        with pytest.raises(ModelLoading, match="base"):
            await here.name_of("whisper-1")
        with pytest.raises(ModelNotFound, match="AURICLE_LOAD_ON_DEMAND"):
            await here.name_of("small")
        with pytest.raises(ModelNotFound):
            await here.name_of("tiny")
        await here.models.load(DEFAULT)
        await here.models.load("small")
        assert [await here.name_of(name) for name in ("whisper-1", "small")] == ["base", "small"]
        assert here.shop.pulled == []


async def test_without_loading_on_demand_no_model_is_unloaded_by_itself(tmp_path: Path):
    async with world(tmp_path, load_on_demand=False, limits=ShelfLimits(ttl_s=0.01)) as here:
        await here.models.load("small")
        await asyncio.sleep(0.05)
        assert here.loaded() == {"small"}


async def test_a_pinned_model_outlives_its_time_and_another_does_not(tmp_path: Path):
    async with world(tmp_path, pinned=[DEFAULT], limits=ShelfLimits(ttl_s=0.05)) as here:
        await asyncio.gather(here.name_of(None), here.name_of("small"))
        await until(lambda: here.loaded() == {"base"})


async def test_the_listing_names_every_model_once_and_marks_what_it_is(tmp_path: Path):
    async with world(tmp_path, aliases={"house": "/srv/models/house-blend"}, pinned=["small"]) as here:
        await here.name_of("small")
        async with here.models.lease("house"):
            summaries = await here.models.listing()
        listing = {summary.id: summary for summary in summaries}
        assert len(listing) == len(summaries)
        assert summaries[0].id == "base"
        assert {"house", "small", *OPENAI_NAMES} <= set(listing)
        assert listing["base"].is_default
        assert (listing["house"].is_loaded, listing["house"].requests) == (True, 1)
        assert listing["house"].memory_bytes > 1 << 20
        assert (listing["small"].is_pinned, listing["house"].is_pinned) == (True, False)
        assert (listing["whisper-1"].is_loaded, listing["whisper-1"].is_downloaded) == (False, True)
        assert not any("/" in summary.id for summary in summaries)
