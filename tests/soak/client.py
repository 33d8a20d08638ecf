"""One client of a soak: asks, compares, or leaves."""

import asyncio
import contextlib
import hashlib
import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

import httpx
from tests.soak.cases import Case, content_of, error_code, refusal_of, stream_error
from tests.soak.tally import Tally

_TIMEOUT_S = 300.0


class Client:
    """Sends cases and judges the answers by what the same case gave when the server had nothing else to do."""

    def __init__(self, url: str, files: Mapping[str, bytes], tally: Tally) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        self.http = httpx.AsyncClient(base_url=url, timeout=_TIMEOUT_S, limits=limits, trust_env=False)
        self._url = httpx.URL(url)
        self._files = files
        self._tally = tally
        self._right: dict[str, str] = {}

    async def learn(self, cases: Iterable[Case]) -> None:
        """Note the right answers, one case after the other. Raises ValueError where one fails."""
        for case in cases:
            response = await self.http.send(self._request(case))
            if response.status_code != 200:
                raise ValueError(f"{case.key} gave {response.status_code}: {response.text[:300]}")
            self._right[case.key] = _digest(content_of(case, response))

    async def ask(self, case: Case, *, extra: Mapping[str, str] | None = None, fields: Mapping[str, str] | None = None):
        """Send the case, with headers and fields that change nothing of the answer, and note what comes of it.

        Gives the seconds that the server asks to wait, 0 where it has answered.
        """
        began = time.perf_counter()
        try:
            response = await self.http.send(self._request(case, extra, fields))
        except httpx.TransportError as error:
            self._find(case, f"no answer: {type(error).__name__} {error}", None, extra, fields)
            return 0.0
        seconds = time.perf_counter() - began
        if code := refusal_of(response):
            self._tally.add(case.kind, code, as_count="refused")
            self._tally.add_time("refusal", seconds)
            return float(response.headers.get("retry-after", 1))
        if problem := self._problem(case, response):
            self._find(case, problem, response, extra, fields)
            return 0.0
        if cache := response.headers.get("x-auricle-cache"):
            self._tally.counts[f"cache_{cache}"] += 1
        as_count = "ok" if case.status == 200 else "rejected"
        self._tally.add(case.kind, str(response.status_code), as_count=as_count, seconds=seconds)
        return 0.0

    async def run_job(self, case: Case, chance: random.Random) -> float:
        """Hand the case over as a job, fetch its result or cancel it on its way, and have it forgotten.

        Gives the seconds that the server asks to wait.
        """
        began = time.perf_counter()
        response = await self.http.send(self._request(replace(case, path="/v1/jobs")))
        if code := refusal_of(response):
            self._tally.add("job", code, as_count="refused")
            return float(response.headers["retry-after"])
        if response.status_code != 202:
            self._find(case, f"a job was answered with {response.status_code}", response, None, None)
            return 0.0
        path = response.headers["location"]
        if chance.random() < 0.25:
            await asyncio.sleep(chance.random() * 0.5)
            response = await self.http.delete(path)
            if response.json().get("deleted"):  # it had ended before
                self._tally.add("job", "late", as_count="left")
                return 0.0
        while (job := (await self.http.get(path)).json())["status"] in {"queued", "running"}:
            if time.perf_counter() - began > _TIMEOUT_S:
                self._find(case, f"a job has not ended after {_TIMEOUT_S:g} s", response, None, None)
                return 0.0
            await asyncio.sleep(0.25)
        if job["status"] == "succeeded":
            response = await self.http.get(f"{path}/result")
            if response.status_code != 200 or _digest(response.json()["text"]) != self._right[case.key]:
                self._find(case, "the result of a job is not that of a request", response, None, None)
        elif job["status"] != "cancelled":
            self._find(case, f"a job failed: {job['error']}", None, None, None)
        self._tally.add("job", job["status"], as_count="jobs", seconds=time.perf_counter() - began)
        if (response := await self.http.delete(path)).status_code != 200:
            self._find(case, "a job that has ended cannot be deleted", response, None, None)
        return 0.0

    async def leave_upload(self, case: Case, chance: random.Random) -> None:
        """Send a part of the body, slowly, and hang up."""
        head, body = self._raw(case)
        sent = body[: chance.randrange(len(body))]
        async with self._connection() as writer:
            writer.write(head)
            for start in range(0, len(sent), 1 << 20):
                writer.write(sent[start : start + (1 << 20)])
                await writer.drain()
                await asyncio.sleep(chance.random() * 0.1)
        self._tally.add("leave_upload", "left", as_count="left")

    async def leave_waiting(self, case: Case, chance: random.Random) -> None:
        """Send all, and hang up before the answer or while it comes."""
        head, body = self._raw(case)
        async with self._connection() as writer:
            writer.write(head + body)
            await writer.drain()
            await asyncio.sleep(chance.choice((0.0, 0.05, 0.5, 2.0)) * chance.random())
        self._tally.add("leave_waiting", "left", as_count="left")

    async def leave_stream(self, case: Case, chance: random.Random) -> None:
        """Read some events, and hang up."""
        left_after = chance.randrange(4)
        with contextlib.suppress(httpx.TransportError):
            response = await self.http.send(self._request(case, {"cache-control": "no-store"}), stream=True)
            async with contextlib.aclosing(response):
                if response.status_code == 200:
                    async for _ in response.aiter_raw():
                        left_after -= 1
                        if left_after <= 0:
                            break
        self._tally.add("leave_stream", "left", as_count="left")

    def _problem(self, case: Case, response: httpx.Response) -> str | None:
        if response.status_code != case.status:
            return f"status {response.status_code}, not {case.status}"
        if case.status != 200:
            code = error_code(response)
            return None if code == case.code else f"code {code}, not {case.code}"
        try:
            content = content_of(case, response)
        except (ValueError, KeyError) as error:
            return f"an answer of another form ({error}), error {stream_error(response)}"
        if case.key not in self._right:
            return None
        self._tally.counts["compared"] += 1
        return None if _digest(content) == self._right[case.key] else "another text than alone"

    def _find(
        self,
        case: Case,
        what: str,
        response: httpx.Response | None,
        extra: Mapping[str, str] | None,
        fields: Mapping[str, str] | None,
    ) -> None:
        self._tally.counts["requests"] += 1
        self._tally.answers[case.kind, "unexpected"] += 1
        answer = {"status": response.status_code, "body": response.text[:600]} if response is not None else {}
        request_id = response.headers.get("x-request-id") if response is not None else None
        sent = {"case": case.key, "headers": dict(extra or {}), "fields": dict(fields or {})}
        self._tally.find(what, kind=case.kind, request_id=request_id, **sent, **answer)

    def _request(
        self, case: Case, extra: Mapping[str, str] | None = None, fields: Mapping[str, str] | None = None
    ) -> httpx.Request:
        files = {} if case.file is None else {"file": (case.file, self._files[case.file])}
        data = {**case.fields, **(fields or {})}
        # Without a file httpx would send the fields in another form.
        parts = files or {"other": ("", b"")}
        return self.http.build_request(
            "POST", case.path, files=parts, data=data, headers={**case.headers, **(extra or {})}
        )

    def _raw(self, case: Case) -> tuple[bytes, bytes]:
        request = self._request(case, {"cache-control": "no-store"})
        body = request.read()
        lines = (f"{name}: {value}\r\n" for name, value in request.headers.items())
        return f"POST {case.path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode(), body

    @contextlib.asynccontextmanager
    async def _connection(self):
        _, writer = await asyncio.open_connection(self._url.host, self._url.port)
        try:
            # The server may hang up first, when it has refused the request.
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(_TIMEOUT_S):
                    yield writer
        except TimeoutError:
            self._tally.find(f"the server neither read a body nor hung up within {_TIMEOUT_S:g} s")
        finally:
            writer.transport.abort()


def _digest(content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()
