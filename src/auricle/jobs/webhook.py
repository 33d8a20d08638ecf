"""Sends webhook messages: one task of its own, beside all other work, until each is taken or its time is over."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

import httpx2

from auricle.errors import ForbiddenUrl
from auricle.jobs.webhook_message import check_webhook_secret, message_headers, parse_retry_after, retry_delay_s
from auricle.net.addresses import Allowlist
from auricle.net.client import Resolve, guarded_client
from auricle.store.deliveries import ClaimedDelivery, DeliveryStore
from auricle.store.transcripts import utc_now
from auricle.store.unavailable import StoreUnavailable

TIMEOUT_S = 15.0
"""For a whole try."""
MAX_IN_FLIGHT = 16
MAX_PER_HOST = 4
"""So that a slow receiver holds up its own messages only."""
_LEASE = timedelta(seconds=4 * TIMEOUT_S)
"""How long others leave a message alone that this process has taken; then this process is taken for dead."""
_POLL_S = 5.0
"""How often to look for messages that other processes added or left behind."""
_CLOSE_S = 2.0
_GONE = 410

_log = logging.getLogger("auricle.jobs.webhook")


class WebhookSender:
    """Belongs to one event loop; any number of processes may run one on the same database.

    ``secret`` signs the messages of jobs that name none. ``chance`` gives numbers from [0, 1). ``resolve`` takes the
    place of DNS.
    """

    def __init__(
        self,
        store: DeliveryStore,
        *,
        allow: Allowlist,
        secret: str | None = None,
        now: Callable[[], datetime] = utc_now,
        chance: Callable[[], float] = random.random,
        resolve: Resolve | None = None,
    ) -> None:
        self._store = store
        self._secret = check_webhook_secret(secret, param="webhook_secret") if secret else None
        self._now = now
        self._chance = chance
        self._client = guarded_client(allow, timeout_s=TIMEOUT_S, max_connections=MAX_IN_FLIGHT, resolve=resolve)
        self._hosts: Counter[str] = Counter()
        self._sending: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send, messages that an earlier process left included."""
        self._loop = asyncio.create_task(self._run(), name="webhooks")

    def wake(self) -> None:
        """There is a new message, or one that is to be sent anew."""
        self._woken.set()

    async def close(self) -> None:
        """Stop; messages on their way get a moment, the others stay for the next start."""
        if self._loop is not None:
            self._loop.cancel()
            with suppress(asyncio.CancelledError):
                await self._loop
        if self._sending:
            await asyncio.wait(self._sending, timeout=_CLOSE_S)
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self._client.aclose()

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                pause_s = await self._send_due()
            except StoreUnavailable as exc:
                _log.warning("webhooks wait, since the database cannot be used: %s", exc)
                pause_s = _POLL_S
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._woken.wait()

    async def _send_due(self) -> float:
        """Start to send what is due, as far as there is room; returns how long there is nothing to do."""
        while room := MAX_IN_FLIGHT - len(self._sending):
            claimed = await asyncio.to_thread(
                self._store.claim_due, limit=room, per_host=MAX_PER_HOST, in_flight=dict(self._hosts), lease=_LEASE
            )
            for delivery in claimed:
                self._start(delivery)
            if not claimed:
                break
        due = await asyncio.to_thread(self._store.next_due, per_host=MAX_PER_HOST, in_flight=dict(self._hosts))
        wait_s = _POLL_S if due is None or not room else (due - self._now()).total_seconds()
        return min(max(wait_s, 0.1), _POLL_S)

    def _start(self, delivery: ClaimedDelivery) -> None:
        def end(task: asyncio.Task[None]) -> None:
            self._sending.discard(task)
            self._hosts[delivery.host] -= 1
            self._hosts += Counter()  # forgets hosts that have none
            self.wake()

        self._hosts[delivery.host] += 1
        task = asyncio.create_task(self._deliver(delivery), name=f"webhook-{delivery.id}")
        self._sending.add(task)
        task.add_done_callback(end)

    async def _deliver(self, delivery: ClaimedDelivery) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status, retry_after = await self._post(delivery)
        except TimeoutError:
            await self._mark_failed(delivery, None, f"no answer within {TIMEOUT_S:g} s")
        except ForbiddenUrl as exc:
            await self._mark_failed(delivery, None, exc.message)
        except httpx2.TransportError as exc:
            await self._mark_failed(delivery, None, str(exc) or type(exc).__name__)
        else:
            if 200 <= status < 300:
                await self._mark(lambda: self._store.mark_delivered(delivery, status=status))
            else:
                await self._mark_failed(delivery, status, f"the receiver answered with status {status}", retry_after)

    async def _post(self, delivery: ClaimedDelivery) -> tuple[int, float | None]:
        now = self._now()
        own = message_headers(delivery.id, delivery.body, secret=delivery.secret or self._secret, now=now)
        headers = {"content-type": "application/json", **delivery.headers, **own}
        # What it says beside the status is not read.
        async with self._client.stream("POST", delivery.url, content=delivery.body, headers=headers) as response:
            return response.status_code, parse_retry_after(response.headers.get("retry-after"), now)

    async def _mark_failed(
        self, delivery: ClaimedDelivery, status: int | None, error: str, retry_after_s: float | None = None
    ) -> None:
        delay_s = retry_delay_s(delivery.attempts, self._chance(), retry_after_s)
        retry_at: datetime | None = self._now() + timedelta(seconds=delay_s)
        if status == _GONE or retry_at > delivery.expires_at:
            retry_at = None
            _log.warning("webhook %s is given up after %d tries: %s", delivery.id, delivery.attempts, error)
        await self._mark(lambda: self._store.mark_failed(delivery, status=status, error=error, retry_at=retry_at))

    async def _mark(self, change: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(change)
        except StoreUnavailable as exc:
            # The lease runs out, and the message is sent again.
            _log.warning("the result of a webhook cannot be kept: %s", exc)
