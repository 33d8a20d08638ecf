"""What the routes share while the server runs."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from auricle.config import Settings
from auricle.errors import QueueFull
from auricle.runtime import Runtime
from auricle.server.preload import Preload


@dataclass(slots=True, kw_only=True)
class Context:
    """One for each running app; made and ended by its lifespan."""

    settings: Settings
    runtime: Runtime
    preload: Preload
    uploads: Path
    """Folder for the bodies of requests."""
    admitted: int = 0

    @property
    def max_upload_bytes(self) -> int:
        return int(self.settings.max_upload_mb * (1 << 20))

    @contextmanager
    def admit(self) -> Generator[None]:
        """A place among ``max_requests``, held from before the upload on, so that waiting bodies cannot fill the disk.

        Raises QueueFull.
        """
        if self.admitted >= self.settings.max_requests:
            raise QueueFull(
                f"The server works on {self.admitted} requests already (AURICLE_MAX_REQUESTS); try again later.",
                retry_after_s=5,
            )
        self.admitted += 1
        try:
            yield
        finally:
            self.admitted -= 1


def _context(request: Request) -> Context:
    return request.app.state.context


RequestContext = Annotated[Context, Depends(_context)]
