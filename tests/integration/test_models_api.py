"""``/v1/models`` of a real server: what operators may do, and that requests survive it."""

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from live_server import DIGITS, MINUTE, LiveServer, live_server, wait_until
from openai import NotFoundError, OpenAI
from typer.testing import CliRunner

import auricle
from auricle.cli.main import app
from auricle.errors import Busy, ModelNotFound

NANO = Path(auricle.__file__).parent / "models" / "nano"
TRANSCRIPTIONS = "/v1/audio/transcriptions"
COPY = "org/copy"
SLOW = {"model": COPY, "beam_size": "16", "vad": "false", "response_format": "verbose_json"}
"""Decoded in sequence with a wide beam: a minute of audio takes long enough to interfere."""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """With nano as the default model, and a copy of it that was downloaded."""
    folder = tmp_path_factory.mktemp("models")
    put_copy(folder)
    with live_server(folder) as live:
        yield live


@pytest.fixture
def client(host: LiveServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{host.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def put_copy(folder: Path, name: str = "org--copy") -> None:
    target = folder / "models" / name
    target.mkdir(parents=True)
    for file in NANO.iterdir():
        if file.is_file():
            (target / file.name).write_bytes(file.read_bytes())


def ask(server: LiveServer, path: str, method: str = "POST", **options) -> httpx.Response:
    return httpx.request(method, f"{server.url}/v1/models/{path}", timeout=120, **options)


def transcribe(server: LiveServer, audio: Path = DIGITS, **data: str) -> httpx.Response:
    """A transcript that is made anew, so that the model is needed."""
    return httpx.post(
        server.url + TRANSCRIPTIONS,
        data=data,
        files={"file": audio.read_bytes()},
        headers={"cache-control": "no-cache"},
        timeout=120,
    )


def in_background(server: LiveServer, audio: Path, data: dict[str, str]) -> tuple[threading.Thread, list]:
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(transcribe(server, audio, **data)))
    thread.start()
    return thread, answers


def is_loaded(server: LiveServer, name: str) -> bool:
    return ask(server, name, "GET").json()["loaded"]


def test_the_official_client_lists_and_describes_models_with_slashes(host: LiveServer, client: OpenAI) -> None:
    assert {"nano", "whisper-1", COPY} <= {model.id for model in client.models.list()}
    assert client.models.retrieve(COPY).id == COPY
    with pytest.raises(NotFoundError) as caught:
        client.models.retrieve("org/other")
    assert caught.value.code == "model_not_found"


def test_a_model_is_loaded_used_and_unloaded(host: LiveServer) -> None:
    assert not is_loaded(host, COPY)
    loaded = ask(host, f"{COPY}/load")
    assert loaded.status_code == 200, loaded.text
    assert loaded.json()["loaded"]
    assert loaded.json()["memory_bytes"] > 1 << 20
    assert not loaded.json()["pinned"]
    assert ask(host, "nano", "GET").json()["pinned"]
    assert transcribe(host, model=COPY).json()["text"] == transcribe(host, model="nano").json()["text"]
    unloaded = ask(host, "org%2Fcopy/unload")
    assert (unloaded.status_code, unloaded.json()["loaded"]) == (200, False)
    assert ask(host, f"{COPY}/unload").status_code == 200, "what is not loaded is unloaded already"
    assert COPY not in {model["id"] for model in host.health()["models"]}


def test_unloading_waits_for_running_requests(host: LiveServer) -> None:
    thread, answers = in_background(host, MINUTE, SLOW)
    wait_until(lambda: ask(host, COPY, "GET").json()["requests"] == 1 and is_loaded(host, COPY))
    assert ask(host, f"{COPY}/unload").json()["requests"] == 0
    thread.join()
    assert answers[0].status_code == 200
    assert "Toronto" in answers[0].text


def test_forced_unloading_ends_running_requests_with_busy(host: LiveServer) -> None:
    thread, answers = in_background(host, MINUTE, SLOW)
    wait_until(lambda: ask(host, COPY, "GET").json()["requests"] == 1 and is_loaded(host, COPY))
    assert ask(host, f"{COPY}/unload", params={"force": "true"}).json()["loaded"] is False
    thread.join()
    assert answers[0].status_code == 503, answers[0].text
    assert answers[0].json()["error"]["code"] == "busy"
    assert int(answers[0].headers["retry-after"]) >= 1
    assert transcribe(host, model=COPY).status_code == 200


def test_a_download_is_removed_but_not_while_it_is_in_use(host: LiveServer, client: OpenAI) -> None:
    put_copy(host.folder, "org--passing")
    thread, _ = in_background(host, MINUTE, SLOW | {"model": "org/passing"})
    wait_until(lambda: ask(host, "org/passing", "GET").json()["requests"] == 1)
    refused = ask(host, "org/passing", "DELETE")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "model_in_use")
    thread.join()
    wait_until(lambda: ask(host, "org/passing", "GET").json()["requests"] == 0)
    deleted = client.models.delete("org/passing")
    assert deleted.deleted
    assert not (host.folder / "models" / "org--passing").exists()
    assert ask(host, "org/passing", "GET").status_code == 404


def test_the_embedded_model_is_not_removed(host: LiveServer) -> None:
    refused = ask(host, "nano", "DELETE")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_option")
    assert transcribe(host).status_code == 200


def test_what_is_on_disk_is_pulled_already_and_offline_nothing_else_can_be(host: LiveServer) -> None:
    pulled = ask(host, COPY)
    assert (pulled.status_code, pulled.json()["downloaded"]) == (200, True)
    for name in ("small", "org/other", "..%2F..%2Fetc", "%2Fetc"):
        refused = ask(host, name)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found"), name


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-for": "203.0.113.7"},
        {"forwarded": "for=203.0.113.7"},
        {"x-real-ip": "127.0.0.1"},
        {"origin": "https://example.org"},
        {"origin": "null"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", f"{COPY}/load"), ("POST", COPY), ("DELETE", COPY)])
def test_nobody_from_elsewhere_manages_models(
    host: LiveServer, method: str, path: str, headers: dict[str, str]
) -> None:
    refused = ask(host, path, method, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    assert ask(host, COPY, "GET", headers=headers).status_code == 200
    assert (host.folder / "models" / "org--copy").is_dir()


def test_a_page_of_this_machine_manages_models(host: LiveServer) -> None:
    assert ask(host, "nano/load", headers={"origin": "http://localhost:8000"}).status_code == 200


def test_models_beyond_the_limit_take_turns_and_settings_decide_what_requests_load(tmp_path: Path) -> None:
    put_copy(tmp_path, "org--a")
    put_copy(tmp_path, "org--b")
    settings = {"preload_models": "", "pinned_models": "", "max_loaded_models": 1, "allow_model_admin": True}
    with live_server(tmp_path, **settings) as server:
        assert server.health()["models"] == []
        for name in ("org/a", "org/b", "org/a"):
            assert transcribe(server, model=name).status_code == 200
            assert [model["id"] for model in server.health()["models"]] == [name]
        assert ask(server, "org/b/load", headers={"x-forwarded-for": "203.0.113.7"}).status_code == 200


def test_without_loading_on_demand_a_request_for_another_model_is_refused(tmp_path: Path) -> None:
    put_copy(tmp_path)
    with live_server(tmp_path, load_on_demand=False) as server:
        assert transcribe(server).status_code == 200
        refused = transcribe(server, model=COPY)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
        assert ask(server, f"{COPY}/load").json()["pinned"]
        assert transcribe(server, model=COPY).status_code == 200


def test_a_model_that_does_not_fit_the_memory_is_refused_with_retry_after(tmp_path: Path) -> None:
    put_copy(tmp_path)
    with live_server(tmp_path, max_model_memory_mb=100) as server:
        refused = transcribe(server, model=COPY)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "memory_pressure")
        assert "AURICLE_MAX_MODEL_MEMORY_MB" in refused.json()["error"]["message"]
        assert int(refused.headers["retry-after"]) >= 1
        assert transcribe(server).status_code == 200


def test_the_command_line_loads_lists_and_unloads(host: LiveServer) -> None:
    def auricle(*arguments: str):
        return CliRunner().invoke(app, ["models", *arguments, "--server", host.url])

    assert f"{COPY}: loaded, " in auricle("load", COPY).output
    listed = {model["id"]: model for model in json.loads(auricle("list", "--json").stdout)}
    assert (listed[COPY]["loaded"], listed[COPY]["loading"], listed["nano"]["is_default"]) == (True, None, True)
    assert re.search(rf"^{COPY} +loaded +\d+\.\d MB +0", auricle("list").stdout, re.MULTILINE)
    assert auricle("unload", COPY, "--force").exit_code == 0
    assert not is_loaded(host, COPY)
    unknown = auricle("load", "org/other")
    assert isinstance(unknown.exception, ModelNotFound)
    assert "org/other" in str(unknown.exception)


def test_the_command_line_says_where_no_server_answers() -> None:
    result = CliRunner().invoke(app, ["models", "load", "nano", "--server", "http://127.0.0.1:9"])
    assert isinstance(result.exception, Busy)
    assert "no answer from http://127.0.0.1:9" in str(result.exception)
