"""An engine that takes no process and is never asked to decode."""

from auricle.batching.metrics import Metrics
from auricle.batching.scheduler import Scheduler
from auricle.engines.wire import Load
from auricle.pipeline.library import ModelFolder
from auricle.types import ModelInfo


class IdleEngine:
    """Lives until it is closed; its process id is what the test says."""

    def __init__(self, name: str, pid: int) -> None:
        self.info = ModelInfo(
            name=name,
            engine="idle",
            device="cpu",
            compute_type="int8",
            n_mels=80,
            is_multilingual=True,
            can_translate=True,
            max_batch=4,
        )
        self.pid: int | None = pid
        self.load = Load()
        self.alive = True

    async def decode(self, rows: object, answer: object) -> float:
        raise AssertionError

    async def close(self) -> None:
        self.alive = False


async def start_idle(folder: ModelFolder, pid: int) -> Scheduler:
    """A started scheduler over an IdleEngine."""

    async def start() -> IdleEngine:
        return IdleEngine(folder.name, pid)

    scheduler = Scheduler(start, metrics=Metrics())
    await scheduler.start()
    return scheduler
