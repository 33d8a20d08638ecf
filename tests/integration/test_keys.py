"""A real server with keys: who gets in, and that nobody sees what another did."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_server import DIGITS, MINUTE, LiveServer, live_server, wait_until
from openai import AuthenticationError, NotFoundError, OpenAI, RateLimitError

from auricle.cli.exit_codes import exit_code
from auricle.errors import Forbidden, InvalidKey, RateLimited

TRANSCRIPTIONS = "/v1/audio/transcriptions"
ADMIN = "ak_" + "admin" * 8
SLOW = {"beam_size": "16", "vad": "false"}


def auricle(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "auricle", *arguments, "--data-dir", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def keys(folder: Path) -> dict[str, str]:
    limits = {"ann": (), "bob": (), "few": ("--limits", "2/hour"), "short": ("--limits", "70s/hour")}
    return {name: auricle(folder, "keys", "create", name, *flags) for name, flags in limits.items()}


@pytest.fixture(scope="module")
def server(folder: Path, keys: dict[str, str]) -> Iterator[LiveServer]:
    with live_server(folder, wait_for_ready=False, admin_key=ADMIN) as live:
        wait_until(lambda: httpx.get(f"{live.url}/health/ready").status_code == 200)
        yield live


def ask(server: LiveServer, key: str, audio: Path = DIGITS, **data: Any) -> httpx.Response:
    return httpx.post(
        server.url + TRANSCRIPTIONS,
        files={"file": audio.read_bytes()},
        data=data,
        headers={"authorization": f"Bearer {key}"},
        timeout=120,
    )


def usage(server: LiveServer, key: str, query: str = "") -> dict[str, dict]:
    answer = httpx.get(f"{server.url}/v1/usage{query}", headers={"x-api-key": key})
    return {line["name"]: line for line in answer.json()["data"]}


def client(server: LiveServer, key: str) -> OpenAI:
    return OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)


def test_the_official_client_is_let_in_by_its_key_only(server: LiveServer, keys: dict[str, str]) -> None:
    with client(server, keys["ann"]) as good:
        assert "seven" in good.audio.transcriptions.create(model="whisper-1", file=DIGITS).text
        assert good.models.list().data
    with client(server, "ak_wrong") as bad:
        with pytest.raises(AuthenticationError) as caught:
            bad.audio.transcriptions.create(model="whisper-1", file=DIGITS)
        assert caught.value.code == "invalid_api_key"
        with pytest.raises(AuthenticationError):
            bad.models.list()
    assert server.uploads() == []


def test_results_of_one_key_are_no_hits_for_another(server: LiveServer, keys: dict[str, str]) -> None:
    said: dict[str, Any] = {"prompt": "only ann knows this"}
    outcomes = [ask(server, keys[name], **said).headers["x-auricle-cache"] for name in ("ann", "ann", "bob", "bob")]
    assert outcomes == ["miss", "hit", "miss", "hit"]


def test_runs_of_one_key_are_not_joined_by_another(server: LiveServer, keys: dict[str, str]) -> None:
    answers: dict[str, list[str]] = {"ann": [], "bob": []}

    def transcribe(name: str) -> None:
        answers[name].append(ask(server, keys[name], MINUTE, **SLOW).headers["x-auricle-cache"])

    threads = [threading.Thread(target=transcribe, args=(name,)) for name in ("ann", "ann", "bob", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: sorted(outcomes) for name, outcomes in answers.items()} == {
        "ann": ["joined", "miss"],
        "bob": ["joined", "miss"],
    }


def test_a_limit_of_requests_holds_for_the_official_client(server: LiveServer, keys: dict[str, str]) -> None:
    with client(server, keys["few"]) as asking:
        for _ in range(2):
            asking.audio.transcriptions.create(model="whisper-1", file=DIGITS)
        with pytest.raises(RateLimitError) as caught:
            asking.audio.transcriptions.create(model="whisper-1", file=DIGITS)
    assert int(caught.value.response.headers["retry-after"]) > 3000
    assert usage(server, keys["few"])["few"]["requests"] == 3


def test_audio_counts_that_the_server_works_on(server: LiveServer, keys: dict[str, str]) -> None:
    first = ask(server, keys["short"], MINUTE)
    assert first.status_code == 200
    again = ask(server, keys["short"], MINUTE)
    assert (again.status_code, again.headers["x-auricle-cache"]) == (200, "hit"), "what is there costs nothing"
    assert int(again.headers["x-ratelimit-remaining-audio-seconds"]) <= 10
    other = ask(server, keys["short"], MINUTE, language="en")
    assert (other.status_code, other.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert ask(server, keys["short"], language="en").status_code == 200, "a short one still fits"
    wait_until(lambda: server.uploads() == [])


def test_usage_of_a_key_is_for_itself_and_for_admins(server: LiveServer, keys: dict[str, str]) -> None:
    ask(server, keys["ann"])
    assert usage(server, keys["ann"]).keys() == {"ann"}
    assert usage(server, ADMIN).keys() >= {"ann", "bob"}
    assert usage(server, ADMIN, "?key=bob").keys() == {"bob"}
    assert httpx.get(f"{server.url}/v1/usage?key=bob", headers={"x-api-key": keys["ann"]}).status_code == 403


def test_a_key_made_for_a_model_sees_no_other(server: LiveServer, folder: Path) -> None:
    key = auricle(folder, "keys", "create", "tiny-only", "--models", "tiny")
    wait_until(lambda: ask(server, key).status_code != 401)
    with client(server, key) as asking:
        assert {model.id for model in asking.models.list().data} <= {"tiny"}
        with pytest.raises(NotFoundError):
            asking.audio.transcriptions.create(model="whisper-1", file=DIGITS)
        with pytest.raises(NotFoundError):
            asking.models.retrieve("nano")


def test_a_revoked_key_is_shut_out_of_a_running_server(server: LiveServer, folder: Path) -> None:
    key = auricle(folder, "keys", "create", "passing")
    wait_until(lambda: ask(server, key).status_code == 200)
    auricle(folder, "keys", "revoke", "passing")
    wait_until(lambda: ask(server, key).status_code == 401)


def test_commands_send_the_key(server: LiveServer, keys: dict[str, str]) -> None:
    def run(*arguments: str, key: str = "") -> int:
        environment = os.environ | {"AURICLE_API_KEY": key}
        command = [sys.executable, "-m", "auricle", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode

    there = ("--server", server.url)
    assert run("transcribe", str(DIGITS), "--quiet", *there) == exit_code(InvalidKey(""))
    assert run("transcribe", str(DIGITS), "--quiet", *there, key=keys["ann"]) == 0
    assert run("transcribe", str(DIGITS), "--quiet", *there, "--api-key", keys["ann"]) == 0
    assert run("models", "list", *there, key=keys["ann"]) == 0
    assert run("models", "load", "nano", *there, key=keys["ann"]) == exit_code(Forbidden(""))
    assert run("models", "load", "nano", *there, key=ADMIN) == 0
    while ask(server, keys["few"]).status_code == 200:
        pass
    assert run("transcribe", str(DIGITS), "--quiet", *there, key=keys["few"]) == exit_code(RateLimited(""))


def test_the_log_names_no_key(server: LiveServer, keys: dict[str, str]) -> None:
    httpx.get(f"{server.url}/v1/models?api_key={keys['ann']}", headers={"authorization": f"Bearer {keys['ann']}"})
    log = (server.folder / "server.log").read_text()
    assert '"status": 401' in log
    assert not [key for key in (*keys.values(), ADMIN, "ak_wrong") if key in log]


def test_usage_is_kept_over_a_restart_and_a_file_of_keys_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    entries = [{"name": name, "key": f"{name}-{'x' * 20}"} for name in ("ann", "bob")]
    path.write_text(json.dumps({"keys": entries[:1]}))
    ann, bob = (entry["key"] for entry in entries)
    data = tmp_path / "data"
    data.mkdir()
    with live_server(data, wait_for_ready=False, keys_file=path) as server:
        assert ask(server, ann).status_code == 200
        assert ask(server, bob).status_code == 401
        path.write_text(json.dumps({"keys": entries[1:]}))
        wait_until(lambda: ask(server, bob).status_code == 200)
        assert ask(server, ann).status_code == 401
        server.process.terminate()
        server.process.wait()
    path.write_text(json.dumps({"keys": entries}))
    with live_server(data, wait_for_ready=False, keys_file=path) as server:
        assert usage(server, ann)["ann"]["requests"] == 1
        assert usage(server, bob).keys() == {"bob"}


def test_a_server_for_others_without_keys_does_not_start(tmp_path: Path) -> None:
    with live_server(tmp_path, wait_for_ready=False, must_start=False, host="0.0.0.0") as server:
        assert server.process.wait(60) == 2
        assert "AURICLE_ALLOW_NO_KEYS" in (tmp_path / "server.log").read_text()
