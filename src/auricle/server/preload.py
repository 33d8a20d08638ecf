"""Loads models while the server already answers."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from auricle.errors import AuricleError
from auricle.pipeline.models import Models

logger = logging.getLogger("auricle.server")

_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 300.0


class Preload:
    """Whether the models called ``names`` have been loaded, and if not, why.

    A model that cannot be had keeps the server up: other models may work, and the weights may come later.
    """

    def __init__(self, models: Models, names: Sequence[str]) -> None:
        self._models = models
        self._missing = dict.fromkeys(names)
        self._errors: dict[str, AuricleError] = {}

    @property
    def ready(self) -> bool:
        """Whether all have been loaded."""
        return not self._missing

    @property
    def error(self) -> AuricleError | None:
        """Why the first that failed did."""
        return next(iter(self._errors.values()), None)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Load in the background for as long as the context is open."""
        tasks = {name: asyncio.create_task(self._load(name)) for name in self._missing}
        try:
            yield
        finally:
            for task in tasks.values():
                task.cancel()
            outcomes = await asyncio.gather(*tasks.values(), return_exceptions=True)
            for name, outcome in zip(tasks, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    logger.error("loading the model %s failed", name, exc_info=outcome)

    async def _load(self, name: str) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                model = await self._models.load(name)
            except AuricleError as exc:
                self._errors[name] = exc
                logger.warning("the model %s is not ready: %s", name, exc.message)
            else:
                del self._missing[name]
                self._errors.pop(name, None)
                logger.info("the model %s is ready", model.info.name)
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
