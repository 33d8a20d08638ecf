"""The models by name: what a name stands for, downloads, and the shelf of those in memory."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from auricle.errors import AuricleError, Busy, InvalidOption, ModelInUse, ModelLoading, ModelNotFound
from auricle.pipeline.backoff import Backoff
from auricle.pipeline.library import Library, ModelFolder, Origin
from auricle.pipeline.shelf import Model, Shelf

OPENAI_NAMES = (
    "whisper-1",
    "gpt-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-4o-transcribe-diarize",
)
"""Names that OpenAI's clients send; they mean the default model unless an alias says otherwise."""

DEFAULT = "default"
"""Stands for the default model in settings that list models."""

_DOWNLOADS_AT_ONCE = 2
_FIRST_PAUSE_S = 5.0
_PULL_ANSWER_S = 1.0
"""Time in which most failures of a download show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """What a listing says of a model."""

    id: str
    owned_by: str
    created: int
    """Unix time."""
    is_default: bool
    is_downloaded: bool
    is_loaded: bool
    is_pinned: bool
    requests: int
    """Transcriptions that use it now."""
    memory_bytes: int
    """Of its engine's process; 0 where it is not loaded."""
    engine: str | None
    """That runs it; None where it is not loaded."""
    compute_type: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """A model on its way into memory."""

    id: str
    stage: Literal["downloading", "starting"]
    bytes_done: int | None = None
    bytes_total: int | None = None


class Models:
    """Loads models on demand; concurrent first requests for one load it once. Belongs to one event loop.

    ``default`` is asked anew each time; ``pinned`` stay in memory once loaded; ``preloaded`` are those that the server
    loads by itself. Without ``load_on_demand`` only ``load`` loads, and all that it loads is pinned.
    """

    def __init__(
        self,
        *,
        default: Callable[[], str],
        aliases: Mapping[str, str],
        library: Library,
        shelf: Shelf,
        pinned: Collection[str] = (),
        preloaded: Collection[str] = (),
        load_on_demand: bool = True,
    ) -> None:
        self._default = default
        self._aliases = dict(aliases)
        self._library = library
        self._shelf = shelf
        self._pinned = pinned
        self._listed = {_public_name(listed): listed for listed in (*preloaded, *pinned) if listed != DEFAULT}
        self._load_on_demand = load_on_demand
        self._folders: dict[str, ModelFolder] = {}
        self._pulls: dict[str, asyncio.Task[ModelFolder]] = {}
        self._progress: dict[str, tuple[int, int]] = {}
        self._failures = Backoff(first_pause_s=_FIRST_PAUSE_S)
        self._threads = ThreadPoolExecutor(_DOWNLOADS_AT_ONCE, thread_name_prefix="download")
        self._is_closed = False
        self._created = int(time.time())

    @asynccontextmanager
    async def lease(self, name: str | None = None) -> AsyncGenerator[Model]:
        """The model that a request calls ``name`` (the default one for None), which stays while the context is open.

        Raises ModelNotFound, ModelLoading and MemoryPressure where it cannot be had now, EngineError where it cannot
        be loaded.
        """
        folder = await self._find(name, Origin.CLIENT)
        async with self._shelf.lease(folder, is_pinned=self._is_pinned(folder)) as model:
            yield model

    async def folder(self, name: str | None = None) -> ModelFolder:
        """Where the model is that a request calls ``name``, after a download if need be; errors as of ``lease``."""
        return await self._find(name, Origin.CLIENT)

    async def check(self, name: str | None = None) -> None:
        """Raises ModelNotFound for what a request can never have by that name; nothing is downloaded."""
        target, origin = self._target(name, Origin.CLIENT)
        if await self._on_disk(target, origin) is None and self._library.offline:
            await asyncio.to_thread(self._library.pull, target, lambda done, total: None)

    async def load(self, name: str | None = None) -> Model:
        """Load the model that the operator calls ``name`` (``default`` and None: the default one); see ``lease``."""
        folder = await self._find(None if name == DEFAULT else name, Origin.OPERATOR)
        async with self._shelf.lease(folder, is_pinned=self._is_pinned(folder)) as model:
            return model

    async def unload(self, name: str | None, *, force: bool = False) -> None:
        """Have the model's memory back; see ``Shelf.unload``. Raises ModelNotFound for what cannot be a model."""
        folder = await self._on_disk(*self._target(name, Origin.OPERATOR))
        if folder is not None:
            await self._shelf.unload(folder.path, force=force)

    async def pull(self, name: str, *, wait: bool) -> bool:
        """Download the model; whether it is on disk now.

        Without ``wait`` the download goes on behind, and a later call tells of its failure. Raises ModelNotFound.
        """
        target, origin = self._target(name, Origin.OPERATOR)
        if await self._on_disk(target, origin) is not None:
            return True
        task = self._pull(target)
        await asyncio.wait([task], timeout=None if wait else _PULL_ANSWER_S)
        if not task.done():
            return False
        await _outcome(task)
        return True

    async def remove(self, name: str) -> int:
        """Delete the model's download, unloading it where it is idle; gives the bytes freed.

        Raises InvalidOption for the embedded model and for folders of the settings, ModelNotFound where nothing is
        there, ModelInUse while it is in use or downloaded.
        """
        target, origin = self._target(name, Origin.OPERATOR)
        if target in self._pulls:
            raise ModelInUse(f"model {name[:100]!r} is being downloaded; remove it later", param="model")
        folder = await self._on_disk(target, origin)
        if folder is not None:
            if folder.is_local:
                raise InvalidOption(
                    f"model {name[:100]!r} is a folder that the settings name; only downloads can be removed",
                    param="model",
                )
            if self._shelf.leases(folder.path):
                raise ModelInUse(f"model {name[:100]!r} is in use; remove it later", param="model")
            await self._shelf.unload(folder.path)
        return await asyncio.to_thread(self._library.remove, target)

    def stands_for(self, name: str | None) -> str:
        """What requests mean by ``name``; names of one model give the same. None, ``default``: the default model."""
        return self._target(None if name == DEFAULT else name, Origin.CLIENT)[0]

    def loaded(self) -> list[Model]:
        """Models that are in memory."""
        return list(self._shelf.loaded().values())

    def loading(self) -> list[Loading]:
        """Models that are being downloaded or loaded."""
        downloads = [
            Loading(id=_public_name(name), stage="downloading", bytes_done=done, bytes_total=total)
            for name, (done, total) in ((name, self._progress.get(name, (0, 0))) for name in self._pulls)
        ]
        return [*downloads, *(Loading(id=folder.name, stage="starting") for folder in self._shelf.starting())]

    async def listing(self) -> list[ModelSummary]:
        """The default model, OpenAI's names, the aliases, and what is loaded or on disk; each once."""
        on_disk = await asyncio.to_thread(self._library.on_disk)
        in_memory = sorted(model.name for model in self.loaded())
        names = dict.fromkeys(
            [_public_name(self._default()), *self._aliases, *OPENAI_NAMES, *in_memory, *self._pulls, *on_disk]
        )
        return [self._summarise(name, on_disk) for name in names]

    async def summary(self, name: str) -> ModelSummary:
        """What a listing would say of any one name."""
        return self._summarise(name, await asyncio.to_thread(self._library.on_disk))

    async def close(self) -> None:
        """Unload everything and give up downloads."""
        self._is_closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._shelf.close()
        pulls = list(self._pulls.values())
        for task in pulls:
            task.cancel()
        await asyncio.gather(*pulls, return_exceptions=True)

    def _target(self, name: str | None, asker: Origin) -> tuple[str, Origin]:
        """What a name stands for, and who says so: names that the settings explain may be local folders."""
        default = self._default()
        if name in self._aliases:
            target = self._aliases[name]
            return (default if target in OPENAI_NAMES else target), Origin.SETTINGS
        if name is None or name in OPENAI_NAMES or name in {default, _public_name(default)}:
            return default, Origin.SETTINGS
        if name in self._listed:
            return self._listed[name], Origin.SETTINGS
        return name, asker

    async def _find(self, name: str | None, asker: Origin) -> ModelFolder:
        """Where the model is, after a download if need be. Raises ModelNotFound, ModelLoading."""
        target, origin = self._target(name, asker)
        known = self._folders.get(target)
        if known is not None and known.path in self._shelf:
            return known
        may_load = self._load_on_demand or asker is not Origin.CLIENT
        folder = await self._on_disk(target, origin)
        if folder is None and (may_load or target in self._pulls):
            folder = await _outcome(self._pull(target))
        if folder is not None and (may_load or folder.path in self._shelf):
            return folder
        if _public_name(target) in self._listed or target == self._default():
            raise ModelLoading(f"model {_public_name(target)!r} is not loaded yet; try again", retry_after_s=5.0)
        raise ModelNotFound(
            f"model {_public_name(target)[:100]!r} is not loaded, and requests do not load models here "
            "(AURICLE_LOAD_ON_DEMAND); GET /v1/models tells which ones are",
            param="model",
        )

    async def _on_disk(self, target: str, origin: Origin) -> ModelFolder | None:
        folder = await asyncio.to_thread(self._library.find, target, origin)
        if folder is not None:
            self._folders[target] = folder
        return folder

    def _pull(self, target: str) -> asyncio.Task[ModelFolder]:
        """The download of the model, begun unless it is on its way; after a failure not before a pause."""
        task = self._pulls.get(target)
        if task is None:
            if self._is_closed:
                raise _closing()
            self._failures.check(target)
            task = self._pulls[target] = asyncio.create_task(self._download(target))
            task.add_done_callback(_hear)
        return task

    async def _download(self, target: str) -> ModelFolder:
        def report(done: int, total: int) -> None:
            if self._is_closed:
                raise _closing()
            self._progress[target] = (done, total)

        loop = asyncio.get_running_loop()
        try:
            folder = await loop.run_in_executor(self._threads, self._library.pull, target, report)
        except AuricleError as error:
            self._failures.note(target, error)
            raise
        finally:
            del self._pulls[target]
            self._progress.pop(target, None)
        self._failures.forget(target)
        self._folders[target] = folder
        return folder

    def _is_pinned(self, folder: ModelFolder) -> bool:
        if not self._load_on_demand:
            return True
        targets = (self._target(None if name == DEFAULT else name, Origin.SETTINGS)[0] for name in self._pinned)
        return any(target in self._folders and self._folders[target].path == folder.path for target in targets)

    def _summarise(self, name: str, on_disk: Mapping[str, Path]) -> ModelSummary:
        target, _ = self._target(name, Origin.CLIENT)
        folder = self._folders.get(target)
        path = on_disk.get(target) or (folder.path if folder is not None else Path(target))
        model = self._shelf.loaded().get(path)
        return ModelSummary(
            id=name,
            owned_by="auricle",
            created=self._created,
            is_default=name == _public_name(self._default()),
            is_downloaded=path in on_disk.values() or (folder is not None and folder.is_local),
            is_loaded=model is not None,
            is_pinned=self._shelf.is_pinned(path),
            requests=self._shelf.leases(path),
            memory_bytes=self._shelf.bytes_of(path),
            engine=model.info.engine if model is not None else None,
            compute_type=model.info.compute_type if model is not None else None,
        )


def _public_name(name: str) -> str:
    """A local folder is known to clients by its last part only."""
    return Path(name).name if Path(name).is_absolute() else name


def _closing() -> Busy:
    return Busy("the server is shutting down; the download will go on from here another time", retry_after_s=5.0)


async def _outcome(task: asyncio.Task[ModelFolder]) -> ModelFolder:
    # Unlike awaiting the task, this leaves it running when one who waits leaves.
    await asyncio.wait([task])
    if task.cancelled():
        raise _closing()
    return task.result()


def _hear(task: asyncio.Task[ModelFolder]) -> None:
    """Take note of a failed download that nobody waits for any more; asyncio would complain."""
    if not task.cancelled():
        task.exception()
