"""What every request passes before any route."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from scripted_runtime import (
    AUDIO,
    TRANSCRIPTIONS,
    ScriptedModels,
    ScriptedTranscriber,
    calling,
    left_over,
    scripted_app,
)

from auricle.config import Settings
from auricle.errors import InvalidOption
from auricle.store import DATABASE_NAME, KEYS_MARK
from auricle.types import Priority

KEY = "ak_" + "user" * 10
ADMIN = "ak_" + "boss" * 10
FILE = f"""
[[keys]]
name = "ann"
key = "ak_{"ann" * 10}"
limits = "3/hour"

[[keys]]
name = "bob"
key = "ak_{"bob" * 10}"
priority = "batch"
models = ["nano"]
"""
ANN, BOB = "ak_" + "ann" * 10, "ak_" + "bob" * 10


def keyed(folder: Path, transcriber: ScriptedTranscriber | None = None, **settings: Any) -> FastAPI:
    path = folder / "keys.toml"
    path.write_text(FILE, "utf-8")
    values = {"api_key": KEY, "admin_key": ADMIN, "keys_file": str(path)} | settings
    return scripted_app(folder, transcriber, cast("Any", Named()), **values)


class Named(ScriptedModels):
    def stands_for(self, name: str | None) -> str:
        return {"whisper-1": "nano", "default": "nano", None: "nano"}.get(name, name or "")


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def all_requests(app: FastAPI) -> list[tuple[str, str]]:
    """Every route of the schema, with parameters filled in."""
    paths = app.openapi()["paths"]
    return [(method.upper(), path.replace("{", "").replace("}", "")) for path in paths for method in paths[path]]


async def test_every_route_but_the_public_ones_needs_a_key(tmp_path: Path) -> None:
    app = keyed(tmp_path)
    async with calling(app) as client:
        for method, path in await all_requests(app):
            answers = [
                await client.request(method, path),
                await client.request(method, path, headers=bearer("ak_wrong")),
                await client.request(method, path, headers={"x-rapidapi-proxy-secret": ""}),
            ]
            expected = {200} if path.startswith("/health") else {403} if path == "/v1/transcribe" else {401}
            assert {answer.status_code for answer in answers} == expected, path
        assert (await client.get("/no/such/route")).status_code == 401
        assert (await client.get("/docs")).status_code == 200
        assert (await client.get("/openapi.json")).status_code == 200
        assert (await client.get("/docs/assets/../../v1/models")).status_code == 401
        assert (await client.get("/health/../v1/models")).status_code == 401
        assert (await client.get("/v1/models", headers=bearer(KEY))).status_code == 200


async def test_a_refusal_is_in_the_envelope_of_openai(tmp_path: Path) -> None:
    async with calling(keyed(tmp_path)) as client:
        answer = await client.post(TRANSCRIPTIONS, files=AUDIO, headers=bearer("wrong"))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "x-request-id" in answer.headers
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")


async def test_nothing_of_a_refused_body_is_read(tmp_path: Path) -> None:
    app = keyed(tmp_path)
    sent: list[dict] = []

    async def receive() -> dict:
        raise AssertionError("the body was asked for")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "method": "POST",
        "path": TRANSCRIPTIONS,
        "raw_path": TRANSCRIPTIONS.encode(),
        "query_string": b"",
        "headers": [(b"host", b"test"), (b"content-type", b"multipart/form-data; boundary=x")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "scheme": "http",
        "http_version": "1.1",
    }
    async with app.router.lifespan_context(app):
        await app(scope, cast("Any", receive), send)
    assert sent[0]["status"] == 401
    assert left_over(tmp_path) == []


async def test_websockets_need_a_key_too(tmp_path: Path) -> None:
    app = keyed(tmp_path)
    sent: list[dict] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/v1/realtime", "headers": [], "client": ("127.0.0.1", 1), "scheme": "ws"}
    await app(
        scope | {"server": ("127.0.0.1", 80), "query_string": b"", "subprotocols": []}, cast("Any", receive), send
    )
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_guests_see_of_the_health_that_it_is_there(tmp_path: Path) -> None:
    async with calling(keyed(tmp_path)) as client:
        guest, known = await client.get("/health"), await client.get("/health", headers=bearer(KEY))
        ready = await client.get("/health/ready")
    assert guest.json().keys() == {"status", "service", "ready"}
    assert ready.json().keys() == guest.json().keys()
    assert known.json().keys() > guest.json().keys()


async def test_the_owner_of_the_key_is_who_asks(tmp_path: Path) -> None:
    transcriber = ScriptedTranscriber()
    async with calling(keyed(tmp_path, transcriber)) as client:
        for key in (KEY, ANN):
            await client.post(TRANSCRIPTIONS, files=AUDIO, headers=bearer(key))
    assert [request.caller for _, _, request in transcriber.asked] == ["setting:api_key", "file:ann"]


async def test_the_log_names_the_owner_and_never_the_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "auricle.access")
    async with calling(keyed(tmp_path)) as client:
        for key in (ANN, "wrong"):
            await client.post(TRANSCRIPTIONS, files=AUDIO, headers=bearer(key))
    lines = [record.__dict__["fields"] for record in caplog.records if "fields" in record.__dict__]
    assert [(line["key"], line["status"]) for line in lines] == [("file:ann", 200), (None, 401)]


async def test_the_class_of_a_key_is_the_most_urgent_it_may_ask_for(tmp_path: Path) -> None:
    transcriber = ScriptedTranscriber()
    async with calling(keyed(tmp_path, transcriber, allow_realtime=True)) as client:
        plain = await client.post(TRANSCRIPTIONS, files=AUDIO, headers=bearer(BOB))
        urgent = await client.post(TRANSCRIPTIONS, files=AUDIO, headers=bearer(BOB), data={"priority": "interactive"})
    assert plain.status_code == 200
    assert transcriber.asked[0][2].priority is Priority.BATCH
    assert (urgent.status_code, urgent.json()["error"]["param"]) == (400, "priority")


async def test_a_key_uses_its_models_only_by_any_of_their_names(tmp_path: Path) -> None:
    async with calling(keyed(tmp_path)) as client:

        async def status(key: str, model: str | None) -> int:
            data = {"model": model} if model else {}
            return (await client.post(TRANSCRIPTIONS, files=AUDIO, data=data, headers=bearer(key))).status_code

        assert [await status(BOB, model) for model in (None, "nano", "whisper-1", "small")] == [200, 200, 200, 404]
        assert await status(KEY, "small") == 200


async def test_models_are_managed_with_an_admin_key_only(tmp_path: Path) -> None:
    async with calling(keyed(tmp_path)) as client:
        refused = await client.post("/v1/models/small/load", headers=bearer(KEY))
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
        passed = await client.post("/v1/models/small/load", headers={"x-admin-api-key": ADMIN})
        assert passed.status_code != 403


async def test_a_limit_holds_to_the_request_however_many_come_at_once(tmp_path: Path) -> None:
    transcriber = ScriptedTranscriber()
    async with calling(keyed(tmp_path, transcriber)) as client:

        async def ask(key: str) -> httpx.Response:
            return await client.post(TRANSCRIPTIONS, files=AUDIO, headers=bearer(key))

        answers = await asyncio.gather(*(ask(ANN) for _ in range(20)))
        others = await asyncio.gather(*(ask(KEY) for _ in range(5)))
        models = [await client.get("/v1/models", headers=bearer(ANN)) for _ in range(5)]
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (3, 17)
    assert len(transcriber.asked) == 3 + 5
    assert {answer.status_code for answer in (*others, *models)} == {200}, "asking for no transcript is free"
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert (refused.json()["error"]["type"], refused.json()["error"]["code"]) == (
        "rate_limit_error",
        "rate_limit_exceeded",
    )
    assert 3500 < int(refused.headers["retry-after"]) <= 3600
    assert refused.headers["x-should-retry"] == "false", "no client waits for an hour"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    good = next(answer for answer in answers if answer.status_code == 200)
    assert good.headers["x-ratelimit-limit-requests"] == "3"
    assert not any(name.startswith("x-ratelimit") for name in (*others[0].headers, *models[0].headers))


@asynccontextmanager
async def using(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """After one good and one bad request of ann, and a good one of bob."""
    async with calling(app) as client:
        await client.post(TRANSCRIPTIONS, files=AUDIO, headers=bearer(ANN))
        await client.post(TRANSCRIPTIONS, files=AUDIO, headers=bearer(ANN), data={"temperature": "7"})
        await client.post(TRANSCRIPTIONS, files=AUDIO, headers=bearer(BOB))
        await client.get("/v1/models", headers=bearer(BOB))
        yield client


async def test_usage_is_seen_by_its_key_and_by_admins(tmp_path: Path) -> None:
    async with using(keyed(tmp_path)) as client:
        own = (await client.get("/v1/usage", headers=bearer(ANN))).json()["data"]
        everyone = (await client.get("/v1/usage", headers=bearer(ADMIN))).json()["data"]
        bobs = (await client.get("/v1/usage?key=bob", headers=bearer(ADMIN))).json()["data"]
        named = (await client.get("/v1/usage?key=file:ann", headers=bearer(ANN))).json()["data"]
        refused = await client.get("/v1/usage?key=bob", headers=bearer(ANN))
        nobody = (await client.get("/v1/usage?key=nobody", headers=bearer(ADMIN))).json()["data"]
    (line,) = own
    assert (line["key"], line["name"]) == ("file:ann", "ann")
    assert (line["requests"], line["audio_seconds"], line["errors"]) == (2, 2.0, 1)
    assert named == own
    assert {one["key"] for one in everyone} == {"file:ann", "file:bob"}
    assert [one["requests"] for one in bobs] == [1]
    assert refused.status_code == 403
    assert nobody == []


async def test_usage_outlives_the_server(tmp_path: Path) -> None:
    async with using(keyed(tmp_path)):
        pass
    async with using(keyed(tmp_path)) as client:
        (line,) = (await client.get("/v1/usage", headers=bearer(ANN))).json()["data"]
    assert line["requests"] == 4


async def test_without_keys_everybody_is_the_same_nobody(tmp_path: Path) -> None:
    transcriber = ScriptedTranscriber()
    async with calling(scripted_app(tmp_path, transcriber)) as client:
        assert (await client.post(TRANSCRIPTIONS, files=AUDIO, headers=bearer("whatever"))).status_code == 200
        assert (await client.get("/v1/usage")).json()["data"] == []
        assert "models" in (await client.get("/health")).json()
    assert transcriber.asked[0][2].caller == "127.0.0.1"


async def test_keys_are_never_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with calling(keyed(tmp_path)) as client:
        for key in (KEY, ANN, "ak_" + "wrong" * 10):
            await client.post(f"{TRANSCRIPTIONS}?key={key}", files=AUDIO, headers=bearer(key) | {"x-api-key": key})
    written = "".join(str(record.__dict__) for record in caplog.records if record.name.startswith("auricle"))
    assert "401" in written
    assert not [key for key in (KEY, ANN, "wrongwrong") if key in written]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "stt.example.com", ""])
def test_a_server_for_other_machines_has_keys_or_does_not_start(tmp_path: Path, host: str) -> None:
    with pytest.raises(InvalidOption, match="AURICLE_ALLOW_NO_KEYS"):
        scripted_app(tmp_path, host=host)
    scripted_app(tmp_path, host=host, allow_no_keys=True)
    scripted_app(tmp_path, host=host, api_key=KEY)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_a_server_for_this_machine_needs_none(tmp_path: Path, host: str) -> None:
    scripted_app(tmp_path, host=host)


def test_a_short_key_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scripted_app(tmp_path, api_key="hunter2")
    assert "AURICLE_API_KEY has less than 16 characters" in caplog.text
    assert "hunter2" not in caplog.text


def test_settings_do_not_show_their_keys() -> None:
    values: dict[str, Any] = dict.fromkeys(("api_key", "admin_key", "rapidapi_proxy_secret"), KEY)
    assert KEY not in repr(Settings(**values))


@pytest.mark.parametrize("bad", [{"tiers": "free"}, {"keys_file": "no/such/file"}])
def test_what_cannot_be_understood_keeps_the_server_from_starting(tmp_path: Path, bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        scripted_app(tmp_path, **bad)


def test_a_key_in_the_file_of_a_tier_that_is_not_there_keeps_the_server_from_starting(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="gold"):
        path = tmp_path / "keys.toml"
        path.write_text(f"[[keys]]\nname = 'a'\nkey = '{KEY}'\ntier = 'gold'", "utf-8")
        scripted_app(tmp_path, keys_file=str(path))


def test_a_damaged_database_that_has_keys_keeps_the_server_from_starting(tmp_path: Path) -> None:
    (tmp_path / DATABASE_NAME).write_bytes(b"this is no database " * 1000)
    scripted_app(tmp_path)
    (tmp_path / KEYS_MARK).touch()
    with pytest.raises(InvalidOption, match="cannot be read"):
        scripted_app(tmp_path)
