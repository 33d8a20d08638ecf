"""The HTTP application, and the process that serves it."""

import asyncio
import contextlib
import math
import os
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import uvicorn
from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer
from starlette.middleware.cors import CORSMiddleware

from auricle import __version__
from auricle.audio.fetch import prepare_folder
from auricle.config import Settings
from auricle.engines.heap import share_heaps
from auricle.errors import InvalidOption
from auricle.runtime import Runtime, open_runtime
from auricle.server import health, job_batches, jobs, metrics, models, openai, status, usage, voices
from auricle.server.access import Access
from auricle.server.accounts import open_accounts
from auricle.server.admission import Admission
from auricle.server.api_page import add_api_page
from auricle.server.compat.routes import COMPAT_ROUTERS
from auricle.server.context import Context
from auricle.server.envelopes import ErrorEnvelope
from auricle.server.errors import install_error_responses
from auricle.server.gate import Gate
from auricle.server.job_meter import KeyMeter
from auricle.server.metrics import ServerState
from auricle.server.preload import Preload
from auricle.server.security import cors_options

if TYPE_CHECKING:
    from auricle.server.tracing import Tracing

_DESCRIPTION = (
    "Whisper transcription server. Speaks OpenAI's audio API: point a client's base URL at `/v1`. Clients of some "
    "other servers find the routes that they know."
)


_KEEP_ALIVE_S = 75
"""An idle connection is left to the client to close: one that sends a request just as the server closes gets no answer.
httpx and OpenAI's client keep theirs for 5 s, proxies for 60 s."""

_KEY_SCHEME = HTTPBearer(
    auto_error=False, scheme_name="key", description="Where the server has keys; `x-api-key` holds one as well."
)
"""For the description of the API only; ``Gate`` is what lets requests in."""


def create_app(settings: Settings | None = None, runtime: Runtime | None = None) -> FastAPI:
    """The application; it closes the runtime when it ends.

    ``settings`` are those of the runtime where one is given, else read from the environment. Raises InvalidOption for
    settings that contradict what is installed and for keys that cannot be read or are missing, OSError where
    ``data_dir`` cannot be written.
    """
    if settings is None:
        settings = runtime.settings if runtime is not None else Settings()  # pyright: ignore[reportCallIssue]
    accounts = open_accounts(settings)
    opened = runtime if runtime is not None else open_runtime(settings, meter=KeyMeter(accounts))
    tracing = _open_tracing() if settings.tracing else None
    uploads = settings.data_dir / "uploads"
    prepare_folder(uploads)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        preload = Preload(opened.models, settings.preload_models)
        admission = Admission(max_requests=settings.max_requests, max_queued_audio_s=settings.max_queued_audio_s)
        context = Context(
            settings=settings,
            runtime=opened,
            accounts=accounts,
            preload=preload,
            uploads=uploads,
            admission=admission,
        )
        app.state.context = context
        state = ServerState(opened.models, admission)
        opened.metrics.registry.register(state)
        try:
            opened.start()
            async with accounts.running(), preload.running():
                yield
        finally:
            opened.metrics.registry.unregister(state)
            await opened.close()
            if tracing is not None:
                await asyncio.to_thread(tracing.close)

    app = FastAPI(
        title="Auricle",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # see api_page
        redoc_url=None,
        responses={"default": {"description": "Any error", "model": ErrorEnvelope}},
        dependencies=[Depends(_KEY_SCHEME)],
    )
    # The last added is the outermost.
    app.add_middleware(Gate, accounts=accounts, settings=settings)
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, **cors_options(settings.cors_origins))
    app.add_middleware(Access, metrics=opened.metrics, trace=tracing.record if tracing is not None else None)
    install_error_responses(app)
    for router in (
        *COMPAT_ROUTERS,
        openai.router,
        job_batches.router,
        jobs.router,
        models.router,
        models.operators,
        health.router,
        metrics.router,
        status.router,
        usage.router,
        voices.router,
    ):
        app.include_router(router)
    add_api_page(app)
    return app


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C, then refuse new requests, finish the running ones and return.

    Prints the URL when connections are taken. Raises InvalidOption where the address cannot be listened on.
    """
    share_heaps()
    with listen(settings.host, settings.port) as listener:
        config = uvicorn.Config(
            create_app(settings),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=math.ceil(settings.shutdown_timeout_s),
        )
        asyncio.run(_Server(config, _url(settings.host, listener)).serve(sockets=[listener]))


def _open_tracing() -> "Tracing":
    try:
        from auricle.server.tracing import open_tracing  # noqa: PLC0415  the extra need not be installed
    except ImportError as exc:
        raise InvalidOption(
            f"AURICLE_TRACING needs OpenTelemetry, which is not installed ({exc}): pip install 'auricle[otel]'",
            param="tracing",
        ) from exc
    return open_tracing()


class _Server(uvicorn.Server):
    """Tells its URL when it is ready, and takes a signal as an order rather than as its own end."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        print(f"Auricle {__version__} listens on {self._url}", flush=True)  # noqa: T201

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        # uvicorn raises the signal again after its shutdown, which would end the process with the signal's status.
        with super().capture_signals():
            yield
            self._captured_signals.clear()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises InvalidOption where the address cannot be had."""
    with contextlib.ExitStack() as stack:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
            family, kind, protocol, _, address = found[0]
            # The protocol must be named: asyncio turns Nagle's algorithm off only where it is, and with it on,
            # every answer comes 40 ms late.
            listener = stack.enter_context(socket.socket(family, kind, protocol))
            if os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(2048)
        except OSError as exc:
            raise InvalidOption(f"cannot listen on {host}:{port}: {exc.strerror or exc}", param="port") from exc
        stack.pop_all()
        return listener


def _url(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
