"""A runtime whose transcripts are written beforehand, and a server around it in the test's own event loop."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import uvicorn
from fastapi import FastAPI

from auricle.batching.metrics import Metrics
from auricle.config import Settings
from auricle.errors import AuricleError
from auricle.pipeline.checkpoint import FROM_THE_START, Checkpoint
from auricle.reuse.request import Reuse
from auricle.runtime import Runtime
from auricle.server.app import create_app, listen
from auricle.types import ClipDone, RequestInfo, Segment, TokenLogprob, TranscribeOptions, Transcript

Step = ClipDone | Transcript | Exception | asyncio.Event


def clip(index: int, text: str) -> ClipDone:
    logprobs = (TokenLogprob(token=text, bytes=tuple(text.encode()), logprob=-0.5),)
    segment = Segment(id=index, start=index, end=index + 1, text=text, logprobs=logprobs)
    return ClipDone(start=index, end=index + 1, segments=(segment,))


def transcript(*clips: ClipDone, **more: Any) -> Transcript:
    segments = tuple(segment for one in clips for segment in one.segments)
    text = "".join(segment.text for segment in segments).strip()
    return Transcript(text=text, segments=segments, language="en", duration=float(len(clips)), **more)


HELLO = clip(0, " Hello there.")
WORLD = clip(1, " Good bye.")


@dataclass
class ScriptedTranscriber:
    """Gives ``steps`` in order; waits where one is an event, raises where one is an exception."""

    steps: list[Step] = field(default_factory=lambda: [HELLO, WORLD, transcript(HELLO, WORLD)])
    asked: list[tuple[TranscribeOptions, str | None, RequestInfo]] = field(default_factory=list)
    audio: list[bytes] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def stream(
        self,
        source: Path,
        options: TranscribeOptions,
        *,
        model: str | None,
        request: RequestInfo,
        reuse: Reuse | None = None,
        checkpoint: Checkpoint = FROM_THE_START,
    ) -> AsyncGenerator[ClipDone | Transcript, None]:
        self.asked.append((options, model, request))
        self.audio.append(await asyncio.to_thread(source.read_bytes))
        self.started.set()
        try:
            for step in self.steps:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    yield step
        finally:
            self.ended.set()

    async def run(self, *args: Any, **options: Any) -> Transcript:
        async with aclosing(self.stream(*args, **options)) as parts:
            async for part in parts:
                if isinstance(part, Transcript):
                    return part
        raise AssertionError("the script has no transcript")

    def start(self) -> None:
        return None

    async def close(self) -> None:
        return None


class ScriptedModels:
    """One model, or the error that loading it gives."""

    def __init__(self, error: AuricleError | None = None) -> None:
        self.error = error

    async def load(self, name: str | None) -> Any:
        if self.error is not None:
            raise self.error
        return SimpleNamespace(name="nano", info=SimpleNamespace(name="nano"))

    def loaded(self) -> list[Any]:
        return []

    def loading(self) -> list[Any]:
        return []

    async def listing(self) -> list[Any]:
        return []

    async def close(self) -> None:
        return None


class IdleJobs:
    """None come, none are run."""

    def start(self) -> None:
        return None

    async def close(self) -> None:
        return None


def scripted_app(
    folder: Path,
    transcriber: ScriptedTranscriber | None = None,
    models: ScriptedModels | None = None,
    **settings: Any,
) -> FastAPI:
    values = Settings(data_dir=folder, model="nano", **settings)
    runtime = Runtime(
        settings=values,
        transcriber=cast("Any", transcriber or ScriptedTranscriber()),
        models=cast("Any", models or ScriptedModels()),
        jobs=cast("Any", IdleJobs()),
        metrics=Metrics(),
    )
    return create_app(values, runtime)


class _QuietServer(uvicorn.Server):
    @contextmanager
    def capture_signals(self):
        yield


@asynccontextmanager
async def serving(app: FastAPI, *, shutdown_s: int = 5) -> AsyncIterator[tuple[httpx.AsyncClient, uvicorn.Server]]:
    """The app behind a real socket, and a client for it."""
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = _QuietServer(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=shutdown_s))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.005)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            yield client, server
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def calling(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client that calls the app without a socket, for what does not need one."""
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        yield client


AUDIO = {"file": ("a.wav", b"RIFF-not-really", "audio/wav")}
TRANSCRIPTIONS = "/v1/audio/transcriptions"


def left_over(folder: Path) -> list[Path]:
    """Uploads that are still on disk."""
    return list((folder / "uploads").iterdir())
