"""The transcriber that does no work twice: finished results come from the cache, equal requests share a run."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from auricle.audio.fetch import file_sha256
from auricle.batching.metrics import Metrics
from auricle.errors import Busy
from auricle.pipeline.checkpoint import FROM_THE_START, Checkpoint
from auricle.pipeline.transcriber import Source, Transcriber
from auricle.reuse.key import result_key
from auricle.reuse.request import Outcome, Reuse
from auricle.reuse.result_cache import ResultCache
from auricle.reuse.shared_run import Item, SharedRun
from auricle.types import ClipDone, Priority, RequestInfo, TranscribeOptions, Transcript

Identify = Callable[[str | None], Awaitable[str]]
"""Name of a model -> all of it that decides about the text. Raises ModelNotFound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """A run and what it will give."""

    run: SharedRun
    is_shared: bool
    """Whether others may wait for it; when it is complete, they may have its transcript anyway."""
    words: bool
    logprobs: bool
    priority: Priority

    def serves(self, options: TranscribeOptions, priority: Priority) -> bool:
        """Whether a request can join: all that it asks for comes, and no later than it is urgent."""
        return (
            self.run.is_open
            and (self.is_shared or self.run.is_complete)
            and self.words >= options.word_timestamps
            and self.logprobs >= options.logprobs
            and self.priority <= priority
        )


class CachingTranscriber:
    """A Transcriber for requests that come with a ``Reuse``; others go straight through.

    ``grace_s`` is how long a run goes on that all have left. Belongs to one event loop.
    """

    def __init__(
        self, transcriber: Transcriber, *, cache: ResultCache, identify: Identify, metrics: Metrics, grace_s: float
    ) -> None:
        self._transcriber = transcriber
        self._cache = cache
        self._identify = identify
        self._grace_s = grace_s
        self._works: dict[str, list[_Work]] = {}
        self._runs: set[SharedRun] = set()
        self._is_closed = False
        self._counters = {"hit": metrics.cache_hits, "miss": metrics.cache_misses, "joined": metrics.joined}
        metrics.cache_bytes.set_function(lambda: cache.size_bytes)

    def start(self) -> None:
        """Open the cache in the background."""
        self._cache.start()

    async def run(
        self,
        source: Source,
        options: TranscribeOptions,
        *,
        model: str | None,
        request: RequestInfo,
        reuse: Reuse | None = None,
    ) -> Transcript:
        """The transcript of ``source``; the errors are those of ``stream``."""
        parts = self.stream(source, options, model=model, request=request, reuse=reuse)
        async with aclosing(parts):
            async for part in parts:
                if isinstance(part, Transcript):
                    return part
        raise AssertionError("a stream ends with its transcript")

    async def stream(
        self,
        source: Source,
        options: TranscribeOptions,
        *,
        model: str | None,
        request: RequestInfo,
        reuse: Reuse | None = None,
        checkpoint: Checkpoint = FROM_THE_START,
    ) -> AsyncGenerator[ClipDone | Transcript, None]:
        """Parts in file order as they are done, the whole Transcript last; a stored one comes segment by segment.

        A run that is shared has no deadline of its own; each request keeps its own. Raises what Transcriber.stream
        raises; those who share a run share its error.
        """
        if reuse is None or reuse.policy == "private":
            if reuse is not None:
                reuse.report("miss")
            parts = self._transcriber.stream(source, options, model=model, request=request, checkpoint=checkpoint)
            async with aclosing(parts):
                async for part in parts:
                    yield _strip(part, options)
            return
        audio = reuse.sha256 or await asyncio.to_thread(file_sha256, source)
        key = result_key(audio, await self._identify(model), options, scope=reuse.scope)
        run = self._find(key, options, request.priority) if reuse.policy == "share" else None
        is_first = run is None
        was_complete = run is not None and run.is_complete
        if run is None:
            run = self._start(key, source, options, model=model, request=request, reuse=reuse, checkpoint=checkpoint)
        with run.joined():
            items = run.items(request.deadline)
            async with aclosing(items):
                async for item in items:
                    if isinstance(item, str):
                        self._tell(item if is_first else "hit" if was_complete or item == "hit" else "joined", reuse)
                        continue
                    if not is_first and isinstance(item, ClipDone) and request.on_progress is not None:
                        request.on_progress(item.end)
                    yield _strip(item, options)

    async def close(self) -> None:
        """End all runs, and write what the cache still has to write."""
        self._is_closed = True
        await asyncio.gather(*(run.close() for run in self._runs))
        await self._cache.close()

    def _find(self, key: str, options: TranscribeOptions, priority: Priority) -> SharedRun | None:
        # The newest first: it may be a fresh answer.
        works = reversed(self._works.get(key, []))
        return next((work.run for work in works if work.serves(options, priority)), None)

    def _start(
        self,
        key: str,
        source: Source,
        options: TranscribeOptions,
        *,
        model: str | None,
        request: RequestInfo,
        reuse: Reuse,
        checkpoint: Checkpoint,
    ) -> SharedRun:
        """A new run; those who ask for the same can join it, unless the request wants one for itself."""
        if self._is_closed:
            raise Busy("the server is shutting down; try again")
        can_share = reuse.policy == "share"
        release = reuse.keep()

        def end(run: SharedRun) -> None:
            release()
            self._runs.discard(run)
            others = [work for work in self._works.pop(key, ()) if work.run is not run]
            if others:
                self._works[key] = others

        items = self._items(
            key, source, options, model=model, request=request, may_look=can_share, checkpoint=checkpoint
        )
        run = SharedRun(items, grace_s=self._grace_s if can_share and reuse.lingers else 0.0, on_end=end)
        self._runs.add(run)
        work = _Work(
            run=run,
            is_shared=can_share,
            words=options.times_words,
            logprobs=options.logprobs,
            priority=request.priority,
        )
        self._works.setdefault(key, []).append(work)
        return run

    async def _items(
        self,
        key: str,
        source: Source,
        options: TranscribeOptions,
        *,
        model: str | None,
        request: RequestInfo,
        may_look: bool,
        checkpoint: Checkpoint,
    ) -> AsyncGenerator[Item, None]:
        # Looked up within the run: those who come meanwhile wait for the same answer.
        stored = None
        if may_look:
            stored = await self._cache.get(key, words=options.word_timestamps, logprobs=options.logprobs)
        if stored is not None:
            yield "hit"
            for segment in stored.segments:
                yield ClipDone(start=segment.start, end=segment.end, segments=(segment,))
            yield stored
            return
        yield "miss"
        request = replace(request, deadline=None)
        parts = self._transcriber.stream(source, options, model=model, request=request, checkpoint=checkpoint)
        async with aclosing(parts):
            async for part in parts:
                yield part
                if isinstance(part, Transcript):
                    # The run can be joined until this is done, so that there is no gap in between.
                    await self._cache.put(key, part, words=options.times_words, logprobs=options.logprobs)

    def _tell(self, outcome: Outcome, reuse: Reuse) -> None:
        self._counters[outcome].inc()
        reuse.report(outcome)


def _strip(part: ClipDone | Transcript, options: TranscribeOptions) -> ClipDone | Transcript:
    """The part without what was not asked for."""
    surplus: dict[str, Any] = {}
    if not options.word_timestamps:
        surplus["words"] = None
    if not options.logprobs:
        surplus["logprobs"] = None
    if not any(getattr(segment, name) is not None for segment in part.segments for name in surplus):
        return part
    return replace(part, segments=tuple(replace(segment, **surplus) for segment in part.segments))
