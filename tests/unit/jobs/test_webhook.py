"""Webhooks over real connections, from a real database, to receivers that misbehave."""

import asyncio
import base64
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from standardwebhooks import Webhook

from auricle.errors import InvalidOption
from auricle.jobs import webhook as webhook_module
from auricle.jobs.webhook import WebhookSender
from auricle.net.addresses import Allowlist
from auricle.store.database import open_database, sqlite_url, writing
from auricle.store.deliveries import Delivery, DeliveryStore, add_delivery
from auricle.store.unavailable import StoreUnavailable
from web_server import Asked, always, reply, web_server

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
OTHER = "whsec_" + base64.b64encode(b"fedcba9876543210fedcba9876543210").decode()
ALLOW = Allowlist.parse(["127.0.0.1"])


class Clock:
    """The time of day, moved on by hand."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Desk:
    """Adds deliveries, sends them and tells what became of them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.clock = Clock()
        self.store = DeliveryStore(engine, now=self.clock)

    def add(self, url: str, *, body: bytes = b"{}", secret: str | None = None, headers: dict | None = None) -> str:
        with writing(self.engine).begin() as connection:
            return add_delivery(
                connection,
                job_id="job",
                owner="",
                url=url,
                headers=headers or {},
                secret=secret,
                body=body,
                now=self.clock(),
            )

    def known(self) -> list[Delivery]:
        return self.store.list_for_job("job", owner=None)

    @asynccontextmanager
    async def sending(
        self, *, allow: Allowlist = ALLOW, secret: str | None = None, chance: float = 0.0
    ) -> AsyncIterator[WebhookSender]:
        sender = WebhookSender(self.store, allow=allow, secret=secret, now=self.clock, chance=lambda: chance)
        sender.start()
        try:
            yield sender
        finally:
            await sender.close()

    async def until(self, condition: Callable[[list[Delivery]], bool]) -> list[Delivery]:
        async with asyncio.timeout(30):
            while not condition(known := self.known()):  # noqa: ASYNC110  # the database tells nobody
                await asyncio.sleep(0.01)
        return known


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("webhooks") / "empty.db"
    open_database(sqlite_url(path)).dispose()
    return path


@pytest.fixture
def desk(tmp_path: Path, empty_database: Path) -> Desk:
    return Desk(open_database(sqlite_url(Path(shutil.copy(empty_database, tmp_path / "auricle.db")))))


def all_delivered(known: list[Delivery]) -> bool:
    return all(one.status == "delivered" for one in known)


async def test_a_message_arrives_as_it_was_stored_and_signed(desk: Desk) -> None:
    body = '{"text":  "grüße"}'.encode()
    async with web_server(always(status=204)) as server, desk.sending(secret=SECRET):
        delivery_id = desk.add(f"{server.url}/hook?a=1", body=body, headers={"authorization": "Bearer x"})
        (known,) = await desk.until(all_delivered)
    (asked,) = server.requests
    assert (asked.method, asked.path, asked.body) == ("POST", "/hook?a=1", body)
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["authorization"] == "Bearer x"
    assert asked.headers["webhook-id"] == delivery_id
    assert Webhook(SECRET).verify(asked.body, asked.headers) == {"text": "grüße"}
    assert (known.attempts, known.last_status) == (1, 204)


async def test_the_secret_of_the_job_goes_before_that_of_the_server(desk: Desk) -> None:
    async with web_server(always()) as server, desk.sending(secret=SECRET):
        desk.add(server.url, secret=OTHER)
        await desk.until(all_delivered)
    assert Webhook(OTHER).verify(server.requests[0].body, server.requests[0].headers) == {}


async def test_without_any_secret_a_message_goes_unsigned(desk: Desk) -> None:
    async with web_server(always()) as server, desk.sending():
        desk.add(server.url)
        await desk.until(all_delivered)
    assert "webhook-signature" not in server.requests[0].headers
    assert "webhook-id" in server.requests[0].headers


def test_a_secret_that_cannot_sign_stops_the_start(desk: Desk) -> None:
    with pytest.raises(InvalidOption) as caught:
        WebhookSender(desk.store, allow=ALLOW, secret="geheim")
    assert caught.value.param == "webhook_secret"


async def test_a_receiver_that_fails_half_of_the_time_gets_every_message(desk: Desk) -> None:
    seen: Counter[str] = Counter()

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        seen[asked.headers["webhook-id"]] += 1
        if sum(seen.values()) % 2:
            reply(writer, status=500)
        elif sum(seen.values()) % 3:
            reply(writer)

    async with web_server(answer) as server, desk.sending(secret=SECRET):
        added = {desk.add(server.url) for _ in range(20)}
        known = await desk.until(all_delivered)
    assert seen.keys() == added
    assert sum(one.attempts for one in known) == sum(seen.values()) > 20
    for asked in server.requests:
        Webhook(SECRET).verify(asked.body, asked.headers)


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 429, 500, 503])
async def test_what_is_not_a_success_is_tried_again_and_no_redirect_is_followed(desk: Desk, status: int) -> None:
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(web_server(always()))
        server = await stack.enter_async_context(web_server(always(status=status, location=other.url)))
        await stack.enter_async_context(desk.sending(chance=0.999))
        desk.add(server.url)
        (known,) = await desk.until(lambda known: known[0].last_status is not None)
    assert (known.status, known.last_status) == ("pending", status)
    assert timedelta(seconds=4) < known.next_at - desk.clock() <= timedelta(seconds=5)
    assert other.connections == 0


async def test_a_receiver_that_is_gone_is_not_asked_again(desk: Desk) -> None:
    async with web_server(always(status=410)) as server, desk.sending():
        desk.add(server.url)
        (known,) = await desk.until(lambda known: known[0].status == "failed")
    assert (known.attempts, known.last_status) == (1, 410)


async def test_a_receiver_that_names_a_time_gets_it(desk: Desk) -> None:
    async with web_server(always(status=503, retry_after="1800")) as server, desk.sending():
        desk.add(server.url)
        (known,) = await desk.until(lambda known: known[0].last_status is not None)
    assert timedelta(seconds=1790) < known.next_at - desk.clock() <= timedelta(seconds=1800)


async def test_after_a_day_it_is_given_up(desk: Desk) -> None:
    async with web_server(always(status=500)) as server:
        desk.add(server.url)
        desk.clock.ahead = timedelta(hours=23, minutes=59)
        async with desk.sending(chance=0.999) as sender:
            await desk.until(lambda known: known[0].attempts == 1 and known[0].last_status == 500)
            assert desk.known()[0].status == "pending"
            desk.clock.ahead += timedelta(minutes=2)
            sender.wake()
            (known,) = await desk.until(lambda known: known[0].status == "failed")
    assert known.attempts == 2


async def test_redelivery_sends_the_same_message_again(desk: Desk) -> None:
    async with web_server(always()) as server, desk.sending() as sender:
        delivery_id = desk.add(server.url)
        await desk.until(all_delivered)
        desk.store.redeliver(delivery_id, owner=None)
        sender.wake()
        await desk.until(all_delivered)
    first, second = server.requests
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])


async def test_messages_of_an_earlier_process_are_sent(desk: Desk) -> None:
    async with web_server(always()) as server:
        desk.add(server.url)
        desk.store.claim_due(limit=1, per_host=1, in_flight={}, lease=timedelta(seconds=60))
        desk.clock.ahead = timedelta(seconds=60)
        async with desk.sending():
            (known,) = await desk.until(all_delivered)
    assert known.attempts == 2


async def test_a_slow_receiver_holds_up_no_other_one(desk: Desk) -> None:
    held = asyncio.Event()

    async def hold(_: Asked, writer: asyncio.StreamWriter) -> None:
        await held.wait()
        reply(writer)

    async with web_server(hold, host="127.0.0.2") as slow, web_server(always()) as fast:
        for _ in range(40):
            desk.add(slow.url)
        for _ in range(10):
            desk.add(fast.url)
        async with desk.sending(allow=Allowlist.parse(["127.0.0.0/8"])):
            await desk.until(lambda known: sum(one.status == "delivered" for one in known) == 10)
            assert len(fast.requests) == 10
            assert slow.connections == webhook_module.MAX_PER_HOST
            held.set()
            await desk.until(all_delivered)


async def test_a_receiver_that_does_not_answer_is_given_up_for_now(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_module, "TIMEOUT_S", 0.1)

    async def drip(_: Asked, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with web_server(drip) as server, desk.sending(chance=0.999):
        desk.add(server.url)
        (known,) = await desk.until(lambda known: known[0].last_error is not None)
    assert (known.status, known.last_error) == ("pending", "no answer within 0.1 s")


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://2130706433:{port}/"])
async def test_a_message_does_not_go_inside(desk: Desk, url: str) -> None:
    async with web_server(always()) as server, desk.sending(allow=Allowlist(), chance=0.999):
        desk.add(url.format(port=server.port))
        (known,) = await desk.until(lambda known: known[0].last_error is not None)
    assert "must not be fetched" in (known.last_error or "")
    assert server.connections == 0


async def test_nobody_who_listens_is_tried_again(desk: Desk) -> None:
    async with web_server(always()) as server:
        pass
    async with desk.sending(chance=0.999):
        desk.add(server.url)
        (known,) = await desk.until(lambda known: known[0].last_error is not None)
    assert known.status == "pending"


async def test_a_database_that_fails_for_a_while_loses_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_module, "_POLL_S", 0.05)
    real = desk.store.claim_due
    failures = iter(range(3))

    def claim(**options: object) -> list:
        if next(failures, None) is not None:
            raise StoreUnavailable("locked")
        return real(**options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(desk.store, "claim_due", claim)
    async with web_server(always()) as server, desk.sending():
        desk.add(server.url)
        await desk.until(all_delivered)


async def test_close_ends_messages_on_their_way_and_keeps_them(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_module, "_CLOSE_S", 0.05)
    started = asyncio.Event()

    async def hold(_: Asked, writer: asyncio.StreamWriter) -> None:
        started.set()
        await asyncio.sleep(60)

    async with web_server(hold) as server:
        desk.add(server.url)
        async with desk.sending():
            await started.wait()
    assert [one.status for one in desk.known()] == ["pending"]
