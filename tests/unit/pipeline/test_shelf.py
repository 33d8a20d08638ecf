import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from idle_engine import start_idle

from auricle.batching.scheduler import Scheduler
from auricle.errors import Busy, EngineFailed, MemoryPressure
from auricle.pipeline.library import ModelFolder
from auricle.pipeline.shelf import Model, Shelf, ShelfLimits
from samples import NANO

MB = 1 << 20


class World:
    """A shelf of models that are nano's vocabulary without an engine; ``sizes`` are what their processes take."""

    def __init__(self, root: Path, **limits: Any) -> None:
        self.root = root
        self.started: list[str] = []
        self.failures: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.sizes: dict[str, int] = {}
        self.shelf = Shelf(start=self.start, limits=ShelfLimits(**limits), measure=self.measure)

    def folder(self, name: str) -> ModelFolder:
        path = self.root / name
        if not path.exists():
            path.symlink_to(NANO)
        return ModelFolder(name=name, path=path, size_bytes=36 * MB)  # 100 MB with the engine

    async def start(self, folder: ModelFolder) -> Scheduler:
        self.started.append(folder.name)
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        return await start_idle(folder, pid=self.started.index(folder.name))

    def measure(self, pid: int | None) -> int:
        return 0 if pid is None else self.sizes.get(self.started[pid], 100) * MB

    @asynccontextmanager
    async def lease(self, name: str, *, is_pinned: bool = False) -> AsyncIterator[Model]:
        async with self.shelf.lease(self.folder(name), is_pinned=is_pinned) as model:
            yield model

    async def use(self, *names: str, is_pinned: bool = False) -> None:
        for name in names:
            async with self.lease(name, is_pinned=is_pinned):
                pass

    def path(self, name: str) -> Path:
        return self.root / name

    def loaded(self) -> list[str]:
        return sorted(path.name for path in self.shelf.loaded())


@asynccontextmanager
async def world(root: Path, **limits: Any) -> AsyncIterator[World]:
    made = World(root, **limits)
    try:
        yield made
    finally:
        made.gate.set()
        await made.shelf.close()


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def test_concurrent_first_leases_load_a_model_once(tmp_path: Path):
    async with world(tmp_path) as here:
        await asyncio.gather(*(here.use("a") for _ in range(20)))
        assert here.started == ["a"]


async def test_who_leaves_while_it_loads_does_not_end_the_loading_for_the_others(tmp_path: Path):
    async with world(tmp_path) as here:
        here.gate.clear()
        leaving, staying = (asyncio.create_task(here.use("a")) for _ in range(2))
        await until(lambda: here.started)
        assert [folder.name for folder in here.shelf.starting()] == ["a"]
        leaving.cancel()
        here.gate.set()
        await staying
        assert here.started == ["a"]


async def test_a_failure_is_told_to_all_who_wait_and_the_next_lease_tries_again(tmp_path: Path):
    async with world(tmp_path) as here:
        here.failures = [EngineFailed("not this time")]
        outcomes = await asyncio.gather(*(here.use("a") for _ in range(3)), return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["not this time"] * 3
        await here.use("a")
        assert here.started == ["a", "a"]


async def test_a_model_that_keeps_failing_is_not_started_with_every_lease(tmp_path: Path):
    async with world(tmp_path) as here:
        here.failures = [EngineFailed("broken") for _ in range(10)]
        for _ in range(10):
            with pytest.raises(EngineFailed, match="broken"):
                await here.use("a")
        assert len(here.started) == 2


async def test_an_idle_model_is_unloaded_after_its_time_and_loads_again(tmp_path: Path):
    async with world(tmp_path, ttl_s=0.02) as here:
        await here.use("a")
        await until(lambda: not here.loaded())
        await here.use("a")
        assert here.started == ["a", "a"]


async def test_time_in_use_is_not_idle_time(tmp_path: Path):
    async with world(tmp_path, ttl_s=0.01) as here, here.lease("a") as model:
        await asyncio.sleep(0.05)
        await here.use("a")
        await asyncio.sleep(0.05)
        assert model.recognizer.alive


async def test_a_model_whose_first_users_all_left_is_unloaded_after_its_time_too(tmp_path: Path):
    async with world(tmp_path, ttl_s=0.01) as here:
        here.gate.clear()
        leaving = asyncio.create_task(here.use("a"))
        await until(lambda: here.started)
        leaving.cancel()
        await asyncio.wait([leaving])
        here.gate.set()
        await until(here.loaded)
        await until(lambda: not here.loaded())


async def test_the_least_recently_used_model_makes_room(tmp_path: Path):
    async with world(tmp_path, max_models=2) as here:
        await here.use("a", "b", "a", "c")
        assert here.loaded() == ["a", "c"]


async def test_a_pinned_model_does_not_make_room(tmp_path: Path):
    async with world(tmp_path, max_models=2) as here:
        await here.use("a", is_pinned=True)
        await here.use("b", "c")
        assert here.loaded() == ["a", "c"]


async def test_a_model_in_use_does_not_make_room(tmp_path: Path):
    async with world(tmp_path, max_models=1) as here, here.lease("a") as model:
        with pytest.raises(MemoryPressure, match=r"1 models.*AURICLE_MAX_LOADED_MODELS.*in use or pinned: a"):
            await here.use("b")
        assert model.recognizer.alive


async def test_models_are_unloaded_until_the_new_one_fits_the_memory(tmp_path: Path):
    async with world(tmp_path, max_bytes=250 * MB) as here:
        await here.use("a", "b", "c")
        assert here.loaded() == ["b", "c"]


async def test_what_is_measured_counts_and_not_the_estimate(tmp_path: Path):
    async with world(tmp_path, max_bytes=250 * MB) as here:
        here.sizes = {"a": 50, "b": 50, "c": 50}
        await here.use("a", "b", "c")
        assert here.loaded() == ["a", "b", "c"]


async def test_a_model_that_turns_out_too_large_is_unloaded_and_not_loaded_again(tmp_path: Path):
    async with world(tmp_path, max_bytes=250 * MB) as here:
        here.sizes = {"b": 200}
        async with here.lease("a"):
            for _ in range(2):
                with pytest.raises(MemoryPressure, match=r"'b' needs about 200 MB.*250 MB.*100 MB.*pinned: a"):
                    await here.use("b")
        assert (here.started, here.loaded()) == (["a", "b"], ["a"])


async def test_a_model_larger_than_the_limit_unloads_no_other(tmp_path: Path):
    async with world(tmp_path, max_bytes=250 * MB) as here:
        here.sizes = {"huge": 300}
        await here.use("a")
        for _ in range(2):
            with pytest.raises(MemoryPressure, match=r"'huge' needs about 300 MB of memory, more than the 250 MB"):
                await here.use("huge")
        assert (here.started, here.loaded()) == (["a", "huge"], ["a"])


async def test_a_model_that_grew_at_work_costs_the_idle_ones_their_place(tmp_path: Path):
    async with world(tmp_path, max_bytes=250 * MB) as here:
        await here.use("a")
        async with here.lease("b"):
            here.sizes["b"] = 200
        await until(lambda: here.loaded() == ["b"])


async def test_many_models_at_once_never_take_more_than_they_may(tmp_path: Path):
    async with world(tmp_path, max_bytes=350 * MB) as here:
        outcomes = await asyncio.gather(*(here.use(f"m{n}") for n in range(12)), return_exceptions=True)
        assert all(outcome is None or isinstance(outcome, MemoryPressure) for outcome in outcomes)
        assert len(here.loaded()) <= 3
        await here.use("last")


async def test_unloading_waits_for_those_in_use_while_new_ones_load_anew(tmp_path: Path):
    async with world(tmp_path) as here:
        async with here.lease("a") as old:
            unloading = asyncio.create_task(here.shelf.unload(here.path("a")))
            await until(lambda: not here.loaded())
            async with here.lease("a") as new:
                assert new is not old
                assert old.recognizer.alive
                assert not unloading.done()
        await unloading
        assert not old.recognizer.alive
        assert new.recognizer.alive


async def test_forced_unloading_waits_for_nobody(tmp_path: Path):
    async with world(tmp_path) as here, here.lease("a") as model:
        await here.shelf.unload(here.path("a"), force=True)
        assert not model.recognizer.alive


async def test_force_ends_an_unloading_that_waits(tmp_path: Path):
    async with world(tmp_path) as here, here.lease("a") as model:
        waiting = asyncio.create_task(here.shelf.unload(here.path("a")))
        await until(lambda: not here.loaded())
        await here.shelf.unload(here.path("a"), force=True)
        await waiting
        assert not model.recognizer.alive


async def test_who_waits_for_a_model_that_is_unloaded_by_force_is_told(tmp_path: Path):
    async with world(tmp_path) as here:
        here.gate.clear()
        waiting = asyncio.create_task(here.use("a"))
        await until(lambda: here.started)
        await here.shelf.unload(here.path("a"), force=True)
        with pytest.raises(Busy, match="'a' was unloaded"):
            await waiting


async def test_unloading_goes_on_when_who_asked_for_it_leaves(tmp_path: Path):
    async with world(tmp_path) as here:
        async with here.lease("a") as model:
            asking = asyncio.create_task(here.shelf.unload(here.path("a")))
            await until(lambda: not here.loaded())
            asking.cancel()
            await asyncio.wait([asking])
            assert model.recognizer.alive
        await until(lambda: not model.recognizer.alive)


async def test_unloading_what_is_not_loaded_does_nothing(tmp_path: Path):
    async with world(tmp_path) as here:
        await here.shelf.unload(here.path("a"))
        await here.shelf.unload(here.path("a"), force=True)


async def test_closing_ends_what_is_in_use_and_what_is_on_its_way_out(tmp_path: Path):
    async with world(tmp_path) as here, here.lease("a") as first:
        leaving = asyncio.create_task(here.shelf.unload(here.path("a")))
        async with here.lease("b") as second:
            await here.shelf.close()
            assert not first.recognizer.alive
            assert not second.recognizer.alive
        await leaving
        with pytest.raises(Busy, match="shutting down"):
            await here.use("c")
