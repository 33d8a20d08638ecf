"""Loads the default model while the server already answers."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from auricle.errors import AuricleError
from auricle.pipeline.models import Models

logger = logging.getLogger("auricle.server")

_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 300.0


class Preload:
    """Whether the default model can be used, and if not, why.

    A model that cannot be had keeps the server up: other models may work, and the weights may come later.
    """

    def __init__(self, models: Models) -> None:
        self._models = models
        self.ready = False
        self.error: AuricleError | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Load in the background for as long as the context is open."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(outcome, Exception):
                logger.error("loading the default model failed", exc_info=outcome)

    async def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                model = await self._models.get(None)
            except AuricleError as exc:
                self.error = exc
                logger.warning("the default model is not ready: %s", exc.message)
            else:
                self.ready, self.error = True, None
                logger.info("the default model %s is ready", model.info.name)
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
