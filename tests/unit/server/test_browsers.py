"""What pages of elsewhere can have a browser do, and what ordinary clients can."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from scripted_runtime import AUDIO, TRANSCRIPTIONS, calling, scripted_app

KEY = "ak_" + "user" * 10
EVIL = "https://evil.example"


async def post(folder: Path, headers: dict[str, str], **settings: Any) -> httpx.Response:
    async with calling(scripted_app(folder, **settings)) as client:
        return await client.post(TRANSCRIPTIONS, files=AUDIO, headers=headers)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8000",
        "127.8.8.8",
        "localhost:8000",
        "LOCALHOST",
        "localhost.",
        "api.localhost:80",
        "[::1]:8000",
        "[::1]",
        "192.168.1.5:8000",
        "testserver",
        "my-machine:8000",
    ],
)
async def test_names_that_nobody_can_register_reach_a_server_without_keys(tmp_path: Path, host: str) -> None:
    assert (await post(tmp_path, {"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example.",
        "127.0.0.1@evil.example",
        "evil.example:80:80",
        "[::1].evil.example",
        "evil.example/",
        "",
    ],
)
async def test_names_that_a_page_could_have_do_not(tmp_path: Path, host: str) -> None:
    answer = await post(tmp_path, {"host": host})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
    assert "AURICLE_TRUSTED_HOSTS" in answer.json()["error"]["message"]


async def test_reading_by_another_name_is_refused_too(tmp_path: Path) -> None:
    async with calling(scripted_app(tmp_path)) as client:
        answers = [await client.get(path, headers={"host": "evil.example"}) for path in ("/v1/models", "/health")]
    assert [answer.status_code for answer in answers] == [403, 403]


@pytest.mark.parametrize(
    ("trusted", "host", "status"),
    [
        ("stt.example.com", "stt.example.com", 200),
        ("stt.example.com", "STT.example.com:443", 200),
        ("stt.example.com", "localhost:8000", 200),
        ("stt.example.com", "other.example.com", 403),
        ("stt.example.com", "192.168.1.5", 403),
        ("*.example.com", "a.example.com", 200),
        ("*.example.com", "example.com", 403),
        ("*.example.com", "evilexample.com", 403),
        ("*", "evil.example", 200),
    ],
)
async def test_trusted_hosts_are_all_there_are(tmp_path: Path, trusted: str, host: str, status: int) -> None:
    assert (await post(tmp_path, {"host": host}, trusted_hosts=trusted)).status_code == status
    keyed = await post(tmp_path, {"host": host, "x-api-key": KEY}, trusted_hosts=trusted, api_key=KEY)
    assert keyed.status_code == status


async def test_a_server_with_keys_or_for_other_machines_has_any_name(tmp_path: Path) -> None:
    named = {"host": "stt.example.com"}
    assert (await post(tmp_path, named | {"x-api-key": KEY}, api_key=KEY)).status_code == 200
    assert (await post(tmp_path, named, host="0.0.0.0", allow_no_keys=True)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": EVIL},
        {"origin": "null"},
        {"origin": EVIL, "sec-fetch-site": "cross-site"},
        {"origin": "https://sibling.example.com", "sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://test.evil.example"},
        {"origin": "http://test:81"},
        {"origin": "http://[::1"},
    ],
)
async def test_pages_of_elsewhere_send_nothing_to_a_server_without_keys(tmp_path: Path, headers: dict) -> None:
    answer = await post(tmp_path, headers)
    assert answer.status_code == 403
    assert "AURICLE_CORS_ORIGINS" in answer.json()["error"]["message"]
    assert (await post(tmp_path, headers | {"x-api-key": KEY}, api_key=KEY)).status_code == 200, "a key is proof enough"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://test"},
        {"origin": "http://localhost:3000", "sec-fetch-site": "same-site"},
        {"origin": "http://127.0.0.1:5173"},
        {"origin": "https://proxy.example", "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
    ],
)
async def test_own_pages_and_programs_do(tmp_path: Path, headers: dict) -> None:
    assert (await post(tmp_path, headers)).status_code == 200


async def test_pages_of_elsewhere_cannot_manage_models(tmp_path: Path) -> None:
    async with calling(scripted_app(tmp_path)) as client:
        for method, path in (("POST", "/v1/models/small"), ("DELETE", "/v1/models/small")):
            assert (await client.request(method, path, headers={"origin": EVIL})).status_code == 403


async def test_origins_of_the_setting_may_use_the_server_and_see_its_headers(tmp_path: Path) -> None:
    app = scripted_app(tmp_path, cors_origins="https://app.example,https://b.example")
    async with calling(app) as client:
        good = await client.post(TRANSCRIPTIONS, files=AUDIO, headers={"origin": "https://app.example"})
        bad = await client.post(TRANSCRIPTIONS, files=AUDIO, headers={"origin": EVIL})
        asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
        preflight = await client.options(
            TRANSCRIPTIONS, headers=asked | {"access-control-request-headers": "authorization,x-auricle-priority"}
        )
    assert good.status_code == 200
    assert good.headers["access-control-allow-origin"] == "https://app.example"
    assert "x-request-id" in good.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in good.headers
    assert bad.status_code == 403
    assert "access-control-allow-origin" not in bad.headers
    assert preflight.status_code == 200
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()


async def test_a_page_can_read_why_its_key_was_refused(tmp_path: Path) -> None:
    async with calling(scripted_app(tmp_path, cors_origins="*", api_key=KEY)) as client:
        answer = await client.post(TRANSCRIPTIONS, files=AUDIO, headers={"origin": EVIL})
        preflight = await client.options(
            TRANSCRIPTIONS, headers={"origin": EVIL, "access-control-request-method": "POST"}
        )
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, "*")
    assert preflight.status_code == 200, "browsers ask without a key"


async def test_without_the_setting_no_page_reads_anything(tmp_path: Path) -> None:
    async with calling(scripted_app(tmp_path)) as client:
        answer = await client.get("/v1/models", headers={"origin": EVIL})
    assert "access-control-allow-origin" not in answer.headers


def test_the_test_client_of_starlette_gets_through(tmp_path: Path) -> None:
    with TestClient(scripted_app(tmp_path)) as client:
        assert client.get("/health").status_code == 200
        assert client.post(TRANSCRIPTIONS, files=AUDIO).status_code == 200
