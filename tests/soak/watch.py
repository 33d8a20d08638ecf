"""Samples memory every second and tells how the soak goes on every ten."""

import asyncio
import time
from typing import Any

from tests.soak.load import Load
from tests.soak.memory import Growth, Series
from tests.soak.processes import Processes, resident_mib
from tests.soak.tally import Tally

_EVERY_S = 1.0
_TELL_EVERY_S = 10.0
_JUDGED_FROM_S = 300.0
"""Runs that are shorter than this have not come to rest; their growth is told and not judged."""


class Watch:
    """Memory of the server and of the engine that is not killed, over the second half of the run."""

    def __init__(self, load: Load, processes: Processes, tally: Tally, seconds: float) -> None:
        self._load = load
        self._processes = processes
        self._tally = tally
        self._seconds = seconds
        self._growth = {name: Growth(seconds / 2, seconds) for name in ("server", "engine")}
        self._series = Series()

    async def run(self) -> None:
        """Until it is cancelled."""
        told_s = 0.0
        while True:
            at_s = self._load.passed_s
            sizes = self._sizes()
            self._growth["server"].add(at_s, sizes["server"])
            if self._load.spared is not None and "engine" in sizes:
                self._growth["engine"].add(at_s, sizes["engine"])
            self._series.add(at_s, *(sizes.get(name, 0.0) for name in ("server", "engine", "engines")))
            if at_s - told_s >= _TELL_EVERY_S:
                told_s = at_s
                self._tell(at_s, sizes)
            await asyncio.sleep(_EVERY_S)

    def judge(self) -> dict[str, Any]:
        """The growth of both, and the series; growth that is too much is noted as a finding."""
        growth = {name: one.judge(self._seconds) for name, one in self._growth.items()}
        is_judged = self._seconds >= _JUDGED_FROM_S
        spared = self._load.spared
        if spared is not None and not spared.is_running():
            self._tally.find("an engine that nobody killed has ended")
        for name, found in growth.items():
            if is_judged and not found["is_flat"]:
                self._tally.find(f"memory of the {name} is not flat", **found)
        columns = ["s", "server_mib", "engine_mib", "all_engines_mib"]
        return {"is_judged": is_judged, "growth": growth, "columns": columns, "series": self._series.points}

    def _sizes(self) -> dict[str, float]:
        engines = {engine.pid: resident_mib(engine) for engine in self._processes.engines()}
        sizes = {"server": resident_mib(self._processes.server), "engines": sum(engines.values())}
        spared = self._load.spared
        if spared is not None and spared.pid in engines:
            sizes["engine"] = engines[spared.pid]
        return sizes

    def _tell(self, at_s: float, sizes: dict[str, float]) -> None:
        names = ("requests", "ok", "rejected", "refused", "left", "kills", "switches", "bursts", "unexpected")
        counts = " ".join(f"{name} {self._tally.counts[name]}" for name in names)
        memory = f"server {sizes['server']:.0f} MiB engines {sizes['engines']:.0f} MiB"
        say(f"{time.strftime('%H:%M:%S')} {at_s:6.0f} s  {counts}  {memory}")


def say(text: str) -> None:
    """To whoever runs the soak."""
    print(text, flush=True)  # noqa: T201
