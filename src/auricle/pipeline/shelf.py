"""The models that are in memory: who uses them, how much they take, and which one has to go.

A model is in use while somebody holds a lease on it. One that is not may be unloaded: when it has been idle for
``ttl_s``, or, the least recently used one first, to make room for another.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from auricle.batching.fleet import Fleet
from auricle.batching.scheduler import Scheduler
from auricle.engines.heap import give_freed_memory_back
from auricle.errors import AuricleError, Busy, MemoryPressure
from auricle.pipeline.backoff import Backoff
from auricle.pipeline.library import ModelFolder
from auricle.pipeline.memory import process_bytes
from auricle.tokenizer import Tokenizer
from auricle.types import ModelInfo

_log = logging.getLogger(__name__)

_ENGINE_BYTES = 64 << 20
"""Of an engine's process without a model; 48 MB were measured with CTranslate2."""
_FIRST_PAUSE_S = 1.0
_RETRY_AFTER_S = 10.0
_TRIM_AFTER_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that is ready to decode."""

    name: str
    tokenizer: Tokenizer
    recognizer: Scheduler | Fleet

    @property
    def info(self) -> ModelInfo:
        return self.recognizer.info


@dataclass(frozen=True, slots=True, kw_only=True)
class ShelfLimits:
    """When models are unloaded; 0 stands for no limit."""

    ttl_s: float = 0.0
    """Idle time after which a model is unloaded."""
    max_models: int = 0
    max_bytes: int = 0
    """Resident memory of all engine processes."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Place:
    """A model that is loaded, being loaded, or on its way out."""

    folder: ModelFolder
    is_pinned: bool
    expected_bytes: int
    """Measured where the model was loaded before, else estimated."""
    has_room: bool = False
    """Whether its memory is reserved."""
    leases: int = 0
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while nobody uses it, and where its users are not waited for."""
    timer: asyncio.TimerHandle | None = None
    task: asyncio.Task[Model]

    @property
    def model(self) -> Model | None:
        is_ready = self.task.done() and not self.task.cancelled() and self.task.exception() is None
        return self.task.result() if is_ready else None

    @property
    def is_idle(self) -> bool:
        return self.model is not None and not self.leases and not self.is_pinned


StartRecognizer = Callable[[ModelFolder], Awaitable[Scheduler | Fleet]]


class Shelf:
    """Belongs to one event loop. ``measure`` gives the resident memory of a process by its id."""

    def __init__(
        self, *, start: StartRecognizer, limits: ShelfLimits, measure: Callable[[int | None], int] = process_bytes
    ) -> None:
        self._start = start
        self._limits = limits
        self._measure = measure
        # The least recently used place is the first.
        self._places: dict[Path, _Place] = {}
        self._leaving: dict[_Place, asyncio.Task[None]] = {}
        self._trimming: asyncio.Task[None] | None = None
        self._give_back: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._room = asyncio.Lock()
        self._failures = Backoff(first_pause_s=_FIRST_PAUSE_S, free=1)
        self._sizes: dict[Path, int] = {}

    def __contains__(self, path: Path) -> bool:
        """Whether the model in the folder ``path`` is loaded or being loaded."""
        return path in self._places

    @asynccontextmanager
    async def lease(self, folder: ModelFolder, *, is_pinned: bool) -> AsyncGenerator[Model]:
        """The model of ``folder``, loaded if need be, and kept in memory while the context is open.

        Raises MemoryPressure where there is no room for it, Busy where it is unloaded before it is ready, and what
        loading raises. A failure is told to all who wait; the next lease tries again, after repeated failures not
        before a pause that grows.
        """
        place = self._places.pop(folder.path, None) or self._open(folder, is_pinned=is_pinned)
        self._places[folder.path] = place
        place.is_pinned = place.is_pinned or is_pinned
        place.leases += 1
        place.may_end.clear()
        if place.timer is not None:
            place.timer.cancel()
        try:
            # Unlike awaiting the task, this leaves it running when one who waits leaves.
            await asyncio.wait([place.task])
            if place.task.cancelled():
                raise Busy(f"model {folder.name!r} was unloaded before it was ready; try again", retry_after_s=1.0)
            yield place.task.result()
        finally:
            place.leases -= 1
            if not place.leases:
                self._note_idle(place)

    def loaded(self) -> dict[Path, Model]:
        """Models that are ready, by folder."""
        return {path: place.model for path, place in self._places.items() if place.model is not None}

    def starting(self) -> list[ModelFolder]:
        """Models that are being loaded."""
        return [place.folder for place in self._places.values() if not place.task.done()]

    def leases(self, path: Path) -> int:
        """How many use the model, those included that use it while it is on its way out."""
        return sum(place.leases for place in (*self._places.values(), *self._leaving) if place.folder.path == path)

    def is_pinned(self, path: Path) -> bool:
        """Whether the model is in memory, and stays."""
        return path in self._places and self._places[path].is_pinned

    def bytes_of(self, path: Path) -> int:
        """Resident memory of the model's engine processes; 0 where it is not loaded."""
        model = self._places[path].model if path in self._places else None
        return self._resident(model.recognizer) if model is not None else 0

    async def unload(self, path: Path, *, force: bool = False) -> None:
        """End the engine's process of the model and return when it has ended; all of its memory comes back.

        Leases are waited for, while new ones load it anew; with ``force`` their rows fail with Busy. Nothing happens
        where the model is not loaded. A caller that leaves does not change the outcome.
        """
        place = self._places.get(path)
        if place is not None:
            self._send_off(place)
        leaving = {place: task for place, task in self._leaving.items() if place.folder.path == path}
        if force:
            for one in leaving:
                one.may_end.set()
        if leaving:
            await asyncio.wait(leaving.values())

    async def close(self) -> None:
        """Unload everything, in use or not, and load nothing any more."""
        self._is_closed = True
        if self._trimming is not None:
            self._trimming.cancel()
        if self._give_back is not None:
            self._give_back.cancel()
        paths = {*self._places, *(place.folder.path for place in self._leaving)}
        await asyncio.gather(*(self.unload(path, force=True) for path in paths))

    def _open(self, folder: ModelFolder, *, is_pinned: bool) -> _Place:
        if self._is_closed:
            raise Busy("the server is shutting down", retry_after_s=5.0)
        self._failures.check(folder.path)
        expected = self._sizes.get(folder.path, folder.size_bytes + _ENGINE_BYTES)

        async def load() -> Model:
            return await self._load(place)

        task = asyncio.create_task(load())
        place = _Place(folder=folder, is_pinned=is_pinned, expected_bytes=expected, task=task)
        task.add_done_callback(lambda _: self._note_loaded(place))
        return place

    def _note_loaded(self, place: _Place) -> None:
        if self._is_here(place) and place.model is None:
            del self._places[place.folder.path]
        elif not place.leases:
            self._note_idle(place)

    def _is_here(self, place: _Place) -> bool:
        return self._places.get(place.folder.path) is place

    async def _load(self, place: _Place) -> Model:
        folder = place.folder
        await self._make_room(place)
        try:
            tokenizer = await asyncio.to_thread(Tokenizer, folder.path)
            recognizer = await self._start(folder)
        except AuricleError as error:
            self._failures.note(folder.path, error)
            raise
        self._failures.forget(folder.path)
        try:
            place.expected_bytes = self._sizes[folder.path] = self._resident(recognizer)
            await self._make_room(place)
        except BaseException:
            await recognizer.close()
            raise
        _log.info("model %s is loaded and takes %d MB", folder.name, place.expected_bytes >> 20)
        return Model(name=folder.name, tokenizer=tokenizer, recognizer=recognizer)

    def _resident(self, recognizer: Scheduler | Fleet) -> int:
        return sum(self._measure(pid) for pid in recognizer.pids)

    async def _make_room(self, place: _Place) -> None:
        """Unload idle models, least recently used first, until ``place`` fits. Raises MemoryPressure if it cannot."""
        most, needed = self._limits.max_bytes, place.expected_bytes
        if most and needed > most:
            raise MemoryPressure(
                f"model {place.folder.name!r} needs about {needed >> 20} MB of memory, more than the {most >> 20} MB "
                "that models may take (AURICLE_MAX_MODEL_MEMORY_MB)",
                param="model",
                retry_after_s=_RETRY_AFTER_S,
            )
        async with self._room:
            while problem := self._problem(place):
                victim = next((other for other in self._places.values() if other.is_idle and other is not place), None)
                if victim is not None:
                    _log.info("model %s is unloaded to make room for %s", victim.folder.name, place.folder.name)
                    self._send_off(victim)
                ending = [task for other, task in self._leaving.items() if other.may_end.is_set()]
                if not ending:
                    raise MemoryPressure(problem, param="model", retry_after_s=_RETRY_AFTER_S)
                await asyncio.wait(ending)
            place.has_room = True

    def _problem(self, place: _Place) -> str | None:
        """Why ``place`` does not fit, or None."""
        limits = self._limits
        others = [other for other in (*self._places.values(), *self._leaving) if other.has_room and other is not place]
        name, needed = repr(place.folder.name), place.expected_bytes
        kept = ", ".join(sorted({other.folder.name for other in others}))
        if limits.max_models and len(others) >= limits.max_models:
            return (
                f"model {name} cannot be loaded: {len(others)} models are in memory, which is the limit "
                f"(AURICLE_MAX_LOADED_MODELS), and all are in use or pinned: {kept}"
            )
        if not limits.max_bytes:
            return None
        taken = self._bytes(others)
        if taken + needed <= limits.max_bytes:
            return None
        return (
            f"model {name} needs about {needed >> 20} MB of memory; of the {limits.max_bytes >> 20} MB that models may "
            f"take (AURICLE_MAX_MODEL_MEMORY_MB), {taken >> 20} MB are taken by models in use or pinned: {kept}"
        )

    def _bytes(self, places: Iterable[_Place]) -> int:
        total = 0
        for place in places:
            model = place.model
            total += (self._resident(model.recognizer) if model is not None else 0) or place.expected_bytes
        return total

    def _note_idle(self, place: _Place) -> None:
        place.may_end.set()
        if self._is_here(place):
            self._places[place.folder.path] = self._places.pop(place.folder.path)
        if self._is_here(place) and place.is_idle:
            if self._limits.ttl_s:
                place.timer = asyncio.get_running_loop().call_later(self._limits.ttl_s, self._expire, place)
            if len(self._places) > 1 and self._trimming is None:
                self._trimming = asyncio.create_task(self._trim())

    def _expire(self, place: _Place) -> None:
        if self._is_here(place) and place.is_idle:
            _log.info("model %s is unloaded after %g s without use", place.folder.name, self._limits.ttl_s)
            self._send_off(place)

    async def _trim(self) -> None:
        """Unload idle models where those in memory have grown beyond the limit at work; the last used one stays."""
        try:
            async with self._room:
                for place in list(self._places.values())[:-1]:
                    held = [other for other in (*self._places.values(), *self._leaving) if other.has_room]
                    if not self._limits.max_bytes or self._bytes(held) <= self._limits.max_bytes:
                        break
                    if self._is_here(place) and place.is_idle:
                        _log.info("model %s is unloaded: models take more than they may", place.folder.name)
                        await asyncio.wait([self._send_off(place)])
        finally:
            self._trimming = None

    def _send_off(self, place: _Place) -> asyncio.Task[None]:
        """Begin to unload; from now on a new lease loads the model anew."""
        del self._places[place.folder.path]
        if place.timer is not None:
            place.timer.cancel()
        if not place.leases:
            place.may_end.set()
        task = self._leaving[place] = asyncio.create_task(self._end(place))
        return task

    async def _end(self, place: _Place) -> None:
        try:
            await place.may_end.wait()
            place.task.cancel()
            await asyncio.wait([place.task])
            if place.model is not None:
                await place.model.recognizer.close()
                _log.info("model %s is unloaded", place.folder.name)
        finally:
            del self._leaving[place]
        # Of its vocabulary, 20 MB would stay here; a moment later, since those who used it still hold it.
        if not self._is_closed:
            loop = asyncio.get_running_loop()
            self._give_back = loop.call_later(_TRIM_AFTER_S, loop.run_in_executor, None, give_freed_memory_back)
