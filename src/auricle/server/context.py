"""What the routes share while the server runs."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from auricle.config import Settings
from auricle.errors import MemoryPressure
from auricle.pipeline.memory import memory_percent
from auricle.runtime import Runtime
from auricle.server.accounts import Accounts
from auricle.server.admission import Admission, Place
from auricle.server.auth import CallerQuota, principal_of
from auricle.server.preload import Preload
from auricle.server.speakers import FindVoices

_MEMORY_WAIT_S = 10.0
_JSON_AT_ONCE = 2


@dataclass(slots=True, kw_only=True)
class Context:
    """One for each running app; made and ended by its lifespan."""

    settings: Settings
    runtime: Runtime
    accounts: Accounts
    preload: Preload
    uploads: Path
    """Folder for the bodies of requests."""
    admission: Admission
    json_turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_JSON_AT_ONCE))
    """Audio in JSON has to be whole in memory, several times over: only few requests read theirs at the same time."""

    @property
    def admitted(self) -> int:
        """Requests in progress."""
        return self.admission.requests

    @property
    def max_upload_bytes(self) -> int:
        return int(self.settings.max_upload_mb * (1 << 20))

    @property
    def min_upload_bytes_s(self) -> float:
        return self.settings.min_upload_kb_s * 1024


def _context(request: Request) -> Context:
    return request.app.state.context


RequestContext = Annotated[Context, Depends(_context)]


def voices_of(request: Request, context: Context) -> FindVoices:
    """The stored voices of the key that asks."""
    owner = principal_of(request).owner

    async def find(names: Sequence[str]) -> Mapping[str, tuple[float, ...]]:
        return await context.accounts.use_voices(lambda voices: voices.find(owner, names))

    return find


async def _admit(context: RequestContext, quota: CallerQuota) -> AsyncIterator[Place]:
    """A place, from before the upload to the end of the answer. Raises RateLimited, QueueFull and MemoryPressure."""
    quota.take_request()
    limit = context.settings.max_memory_percent
    # Together with the limit on uploads and windows, nothing that is admitted can take much more.
    if limit and (used := memory_percent()) > limit:
        raise MemoryPressure(
            f"{used:.0f} % of the memory is in use, and at {limit:g} % no more requests are taken "
            "(AURICLE_MAX_MEMORY_PERCENT); try again later.",
            retry_after_s=_MEMORY_WAIT_S,
        )
    with context.admission.admit() as place:
        yield place


Admitted = Annotated[Place, Depends(_admit)]
