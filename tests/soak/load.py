"""The mixed load: users, bursts, model switches, and an engine that is killed now and then."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import httpx
import psutil
from tests.soak.cases import Case, late_case, refusal_of
from tests.soak.client import Client
from tests.soak.processes import Processes, kill_9
from tests.soak.tally import Tally

OTHER_MODELS = ("second", "third")
_HEALTH_EVERY_S = 0.25
_HEALTH_LIMIT_S = 30.0
_YOUNG_S = 8.0
_KILLS_OF_ALL = 0.4
"""Share of the run in which every engine may be killed; then one lives on, so that its memory can be watched."""

_SHARES = {
    "clip": 40,
    "minute": 6,
    "long": 2,
    "translation": 6,
    "wrong": 12,
    "sampled": 4,
    "late": 2,
    "job": 8,
    "leave_upload": 4,
    "leave_waiting": 6,
    "leave_stream": 4,
}
"""What users do, in parts of the sum."""


class Load:
    """Everything that happens to the server for ``seconds``. ``spared`` is the engine that is never killed."""

    def __init__(
        self,
        *,
        client: Client,
        tally: Tally,
        processes: Processes,
        right: Mapping[str, Sequence[Case]],
        wrong: Sequence[Case],
        seconds: float,
        seed: int,
    ) -> None:
        self.spared: psutil.Process | None = None
        self._client = client
        self._tally = tally
        self._processes = processes
        self._right = right
        self._wrong = wrong
        self._seconds = seconds
        self._seed = seed
        self._began = time.monotonic()
        self._may_switch = True

    @property
    def passed_s(self) -> float:
        return time.monotonic() - self._began

    async def run(self, *, users: int) -> None:
        """Return when the time is over and every request has its answer."""
        async with asyncio.TaskGroup() as group:
            for number in range(users):
                group.create_task(self._user(random.Random(f"{self._seed} user {number}")))
            for act in (self._bursts, self._switches, self._kills):
                group.create_task(act(random.Random(f"{self._seed} {act.__name__}")))
            group.create_task(self._health())

    async def _user(self, chance: random.Random) -> None:
        kinds, shares = list(_SHARES), list(_SHARES.values())
        while self.passed_s < self._seconds:
            wait_s = await self._act(chance.choices(kinds, shares)[0], chance) or 0.0
            await asyncio.sleep(min(wait_s, 1.0) + chance.expovariate(5.0))

    async def _act(self, kind: str, chance: random.Random) -> float | None:
        client = self._client
        leave: dict[str, Callable[[Case, random.Random], Coroutine[Any, Any, None]]] = {
            "leave_upload": client.leave_upload,
            "leave_waiting": client.leave_waiting,
        }
        if kind in leave:
            return await leave[kind](chance.choice(self._right[chance.choice(("clip", "minute", "long"))]), chance)
        if kind == "job":
            cases = [case for length in ("clip", "minute") for case in self._right[length]]
            return await client.run_job(chance.choice([case for case in cases if _is_json(case)]), chance)
        if kind == "leave_stream":
            streams = [case for case in (*self._right["minute"], *self._right["long"]) if case.fields.get("stream")]
            return await client.leave_stream(chance.choice(streams), chance)
        if kind in {"wrong", "late"}:
            return await client.ask(chance.choice(self._wrong) if kind == "wrong" else late_case())
        if kind == "sampled":
            fields = {"temperature": chance.choice(("0.2", "0.8")), "beam_size": "1"}
            case = Case(kind="sampled", file=chance.choice(self._right["clip"]).file, fields=fields)
            return await client.ask(case, extra={"cache-control": "no-store"})
        return await client.ask(chance.choice(self._right[kind]), extra=_headers(chance), fields=self._model(chance))

    def _model(self, chance: random.Random) -> dict[str, str]:
        name = chance.choices(("", "nano", "whisper-1", *OTHER_MODELS), (40, 20, 25, 10, 5))[0]
        return {"model": name} if name and (self._may_switch or name not in OTHER_MODELS) else {}

    async def _bursts(self, chance: random.Random) -> None:
        """100 requests at once, every half a minute or, in short runs, twice."""
        while await self._sleep(min(30.0, self._seconds / 3) * (0.75 + chance.random() / 2)):
            self._tally.counts["bursts"] += 1
            cases = [chance.choice(self._right["clip"]) for _ in range(100)]
            await asyncio.gather(*(self._client.ask(case, extra=_headers(chance)) for case in cases))

    async def _switches(self, chance: random.Random) -> None:
        """Load and unload models, by operator's order."""
        while await self._sleep(min(12.0, self._seconds / 8) * (0.5 + chance.random())):
            if not self._may_switch:
                continue
            name = chance.choice(OTHER_MODELS)
            act = chance.choice(("load", "unload", "unload?force=true"))
            await self._order(name, act)

    async def _order(self, name: str, act: str) -> None:
        began = time.perf_counter()
        response = await self._client.http.post(f"/v1/models/{name}/{act}")
        if response.status_code == 200:
            self._tally.counts["switches"] += 1
            self._tally.add_time(f"model_{act.partition('?')[0]}", time.perf_counter() - began)
        elif refusal_of(response) is None:
            self._tally.find(
                f"{act} of model {name} gave {response.status_code}",
                body=response.text[:600],
                request_id=response.headers.get("x-request-id"),
            )

    async def _kills(self, chance: random.Random) -> None:
        """kill -9 of an engine that has had time to start: one that never answers may rightly be given up."""
        while await self._sleep(min(20.0, self._seconds / 6) * (0.75 + chance.random() / 2)):
            if self.passed_s >= _KILLS_OF_ALL * self._seconds and self.spared is None:
                await self._spare()
            old = [one for one in self._processes.engines() if time.time() - one.create_time() > _YOUNG_S]
            victims = [one for one in old if one != self.spared]
            if victims:
                kill_9(chance.choice(victims))
                self._tally.counts["kills"] += 1

    async def _spare(self) -> None:
        """Find the default model's engine: the one that is there when no other model is."""
        self._may_switch = False
        for _ in range(20):
            for name in OTHER_MODELS:
                await self._order(name, "unload?force=true")
            engines = self._processes.engines()
            state = (await self._client.http.get("/health")).json()
            if len(engines) == len(state["models"]) == 1 and not state["loading"]:
                self.spared = engines[0]
                break
            await asyncio.sleep(0.5)
        self._may_switch = True

    async def _health(self) -> None:
        """Ask for the state all the time; it must always come."""
        async with httpx.AsyncClient(base_url=self._client.http.base_url, trust_env=False) as http:
            while await self._sleep(_HEALTH_EVERY_S):
                began = time.perf_counter()
                try:
                    response = await http.get("/health", timeout=_HEALTH_LIMIT_S)
                except httpx.TransportError as error:
                    self._tally.find(f"/health gave no answer: {type(error).__name__}")
                    continue
                self._tally.add_time("health", time.perf_counter() - began)
                if response.status_code != 200 or response.json()["status"] != "ok":
                    self._tally.find(f"/health gave {response.status_code}", body=response.text[:600])

    async def _sleep(self, seconds: float) -> bool:
        """Whether there is time left afterwards."""
        await asyncio.sleep(max(0.0, min(seconds, self._seconds - self.passed_s)))
        return self.passed_s < self._seconds


def _is_json(case: Case) -> bool:
    return case.fields.get("response_format") == "json"


def _headers(chance: random.Random) -> dict[str, str]:
    """From the cache or not, urgent or not: the text is the same."""
    cache = chance.choices(("", "no-cache", "no-store"), (40, 30, 30))[0]
    priority = chance.choices(("", "interactive", "batch"), (60, 20, 20))[0]
    found = {"cache-control": cache, "x-auricle-priority": priority}
    return {name: value for name, value in found.items() if value}
