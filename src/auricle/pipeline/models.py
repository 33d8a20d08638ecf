"""The models that are in memory, by name: loaded on first use, each with its own queue and engine process."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from auricle.batching.scheduler import Scheduler
from auricle.errors import Busy
from auricle.tokenizer import Tokenizer
from auricle.types import ModelInfo

OPENAI_NAMES = (
    "whisper-1",
    "gpt-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-4o-transcribe-diarize",
)
"""Names that OpenAI's clients send; they mean the default model unless an alias says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that is ready to decode."""

    name: str
    tokenizer: Tokenizer
    recognizer: Scheduler

    @property
    def info(self) -> ModelInfo:
        return self.recognizer.info


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """What a listing says of a model."""

    id: str
    owned_by: str
    created: int
    """Unix time."""
    is_loaded: bool
    is_default: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """Where a model's files are, and the one name under which it is loaded."""

    name: str
    path: Path


Progress = Callable[[int, int], None]
"""Takes the bytes that are there and the bytes of the whole model; may raise to give the download up."""

Locate = Callable[[str, bool, Progress], ModelFolder]
"""Finds (or downloads) a model by name; the flag says whether the name is trusted, so that it may be a local folder.
Blocking; raises ModelNotFound."""

StartScheduler = Callable[[ModelFolder], Awaitable[Scheduler]]


class Models:
    """Loads models on demand; concurrent first requests for one load it once. Belongs to one event loop."""

    def __init__(
        self,
        *,
        default: Callable[[], str],
        aliases: Mapping[str, str],
        locate: Locate,
        start: StartScheduler,
        on_disk: Callable[[], list[str]],
    ) -> None:
        self._default = default
        self._aliases = dict(aliases)
        self._locate = locate
        self._start = start
        self._on_disk = on_disk
        self._loading: dict[Path, asyncio.Task[Model]] = {}
        self._folders: dict[str, ModelFolder] = {}
        self._downloads: dict[str, tuple[int, int]] = {}
        self._is_closed = False
        self._created = int(time.time())

    async def get(self, name: str | None = None) -> Model:
        """The model called ``name`` (the default one for None), loaded if need be.

        Raises ModelNotFound, and EngineError where it cannot be loaded; the next call tries again.
        """
        folder = await self._find(name)
        task = self._loading.get(folder.path)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = asyncio.create_task(self._load(folder))
            self._loading[folder.path] = task
        # Shielded: one waiter that leaves must not end the loading for the others.
        return await asyncio.shield(task)

    def loaded(self) -> list[Model]:
        """Models that are in memory."""
        done = [task for task in self._loading.values() if task.done() and not task.cancelled()]
        return [task.result() for task in done if task.exception() is None]

    def downloads(self) -> dict[str, tuple[int, int]]:
        """Bytes that are there, and bytes in all, of each model that is being downloaded."""
        return dict(self._downloads)

    def listing(self) -> list[ModelSummary]:
        """The default model, OpenAI's names, the aliases, and what is loaded or on disk; each once."""
        in_memory = {model.name for model in self.loaded()}
        default = self._default()
        names = dict.fromkeys([default, *self._aliases, *OPENAI_NAMES, *sorted(in_memory), *self._on_disk()])
        return [
            ModelSummary(
                id=_public_name(name),
                owned_by="auricle",
                created=self._created,
                is_loaded=_public_name(self._target(name)[0]) in in_memory,
                is_default=name == default,
            )
            for name in names
        ]

    async def unload(self, name: str | None) -> None:
        """End the engine process of a model; all of its memory comes back. Does nothing where it is not loaded."""
        folder = await self._find(name)
        task = self._loading.pop(folder.path, None)
        if task is not None:
            await _close(task)

    async def close(self) -> None:
        """Unload everything and give up downloads."""
        self._is_closed = True
        tasks = list(self._loading.values())
        self._loading.clear()
        await asyncio.gather(*(_close(task) for task in tasks))

    def _target(self, name: str | None) -> tuple[str, bool]:
        """What a name stands for, and whether it comes from the settings (which may name local folders)."""
        default = self._default()
        if name in self._aliases:
            target = self._aliases[name]
            return (default if target in OPENAI_NAMES else target), True
        if name is None or name in OPENAI_NAMES or name in {default, _public_name(default)}:
            return default, True
        return name, False

    async def _find(self, name: str | None) -> ModelFolder:
        target, trusted = self._target(name)
        known = self._folders.get(target)
        if known is not None:
            return known

        def report(done: int, total: int) -> None:
            if self._is_closed:
                raise Busy("the server is shutting down; the download will go on from here another time")
            self._downloads[target] = (done, total)

        try:
            folder = await asyncio.to_thread(self._locate, target, trusted, report)
        finally:
            self._downloads.pop(target, None)
        self._folders[target] = folder
        return folder

    async def _load(self, folder: ModelFolder) -> Model:
        tokenizer = await asyncio.to_thread(Tokenizer, folder.path)
        return Model(name=folder.name, tokenizer=tokenizer, recognizer=await self._start(folder))


def _public_name(name: str) -> str:
    """A local folder is known to clients by its last part only."""
    return Path(name).name if Path(name).is_absolute() else name


async def _close(task: asyncio.Task[Model]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and task.exception() is None:
        await task.result().recognizer.close()
